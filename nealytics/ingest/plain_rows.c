/* JSON of events -> rows, in one pass, for events that are written plainly.

   Reader(identifier_chars_max, item_id_chars_max, metadata_bytes_max, age_ms_max, future_ms_max, project, tenant, user)
     .rows(text, separator, received_ms, makes_ids) -> list[bytes] | None
   single(data, known, received_ms) -> (head, row) | None

   The limits are those of `event.Limits`; project, tenant, and user are what the sender's key or token fixes, or empty.
   `text` holds elements of a JSON array without its brackets (separator ",") or lines of NDJSON (separator "\n"). It is
   UTF-8: the caller has checked that. The result has the row of every element, as `event.freeze` and
   `rowbinary.encode_row` make it, or is None if any element is not plain or may not be accepted.
   Then the Python code, which is the reference, reads the text and says what is wrong. So this file never refuses
   anything, and whatever is rare may be left out of it:

     events without eventId unless `makes_ids`; keys with escapes, lone surrogates, nesting deeper than DEPTH_MAX, long
     numbers; eventIds that are not written with 36 characters; timestamps other than 2026-06-15T10:30:00.123Z, with any
     fraction or none, and whole milliseconds.

   `single` is for an HTTP request whose body is one event in ASCII. `known` has the bytes of heads, without the empty line:
   {start: (reader, head, bytes of the body)}. None also if `data` is not exactly such a request. Ids are made.

   tests/ingest/test_plain_rows.py holds the two together. JSON: RFC 8259. Row: the docstring of rowbinary.py. */

#define _GNU_SOURCE /* memmem */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

/* Of the arguments and the result. plain.py does not use a module of another version, compiled from older sources. */
#define VERSION 4
#define DEPTH_MAX 64
#define NUMBER_BYTES_MAX 32
#define IDS_AT_ONCE 25 /* getrandom returns up to 256 bytes whole */
#define SHORT_BYTES 4096
#define HEAD_BYTES_MAX 1024 /* of a known head; ingest/at_once.py remembers none that is longer */

typedef unsigned char byte;

/* The read position. Functions that read return 0 at anything that is not plain. */
typedef struct {
    const byte *at;
    const byte *end;
    int lines; /* a line feed separates elements, so it does not count as white space */
} Reader;

/* A value of an event, as it is written; of a string, what is between its quotes; null is as absent. */
typedef struct {
    const byte *start;
    Py_ssize_t length;
    byte kind; /* 0 = absent or null, else the first byte of the value */
    byte escaped;
} Value;

enum { PROJECT, TENANT, SESSION, TYPE, USER, ITEM, METADATA_JSON, METADATA, EVENT_ID, TIMESTAMP, FIELDS };

#define NAME(text) {text, sizeof text - 1}
static const struct {
    const char *text;
    Py_ssize_t bytes;
} NAMES[FIELDS] = {NAME("projectId"), NAME("tenantId"),     NAME("sessionId"), NAME("eventType"), NAME("userId"),
                   NAME("itemId"),    NAME("metadataJson"), NAME("metadata"),  NAME("eventId"),   NAME("timestamp")};

typedef struct {
    int64_t age_ms_max, future_ms_max; /* no age = any */
    Py_ssize_t identifier_chars_max, item_id_chars_max, metadata_bytes_max;
    Value project, tenant, user; /* what the sender's key or token fixes; without length = any */
    Py_ssize_t fixed_bytes;      /* of all three */
} Rules;

/* Of one call. */
typedef struct {
    int64_t received_ms, oldest_ms, newest_ms;
    int makes_ids;
} Call;

/* Random bytes for ids, from the kernel, used under the interpreter's lock. A copy of the process forgets them, so it
   has different ones. */
static struct {
    byte random[IDS_AT_ONCE * 10];
    int left;
} ids;

static void forget_ids(void) { ids.left = 0; }

static inline void skip_blanks(Reader *r) {
    while (r->at < r->end && *r->at <= ' ' &&
           (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || (*r->at == '\n' && !r->lines)))
        r->at++;
}

static inline int skip_byte(Reader *r, byte wanted) {
    skip_blanks(r);
    if (r->at == r->end || *r->at != wanted)
        return 0;
    r->at++;
    return 1;
}

static int is_digit(byte b) { return b >= '0' && b <= '9'; }

static int hex_value(byte b) {
    if (is_digit(b))
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* The code unit of four hexadecimal digits, or -1. */
static int code_unit(const byte *at, const byte *end) {
    int unit = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Whether any of the next 8 bytes is a quote, a backslash, or a control character. A byte has its highest bit set in
   (x - 0x01…) & ~x if it was 0, and in (x - 0x20…) & ~x if it was below 0x20; a borrow may set others behind such a byte. */
static inline int is_special_near(const byte *at) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t x, quote, backslash;
    memcpy(&x, at, 8);
    quote = x ^ ones * '"';
    backslash = x ^ ones * '\\';
    return (((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & ones << 7 ? 1 : 0;
}

/* A string, whose opening quote is at r->at. Its escapes are valid, and surrogates come in pairs. */
static int skip_string(Reader *r, Value *value) {
    const byte *at = r->at + 1, *end = r->end;
    value->start = at;
    value->kind = '"';
    value->escaped = 0;
    for (;; at++) {
        while (end - at >= 8 && !is_special_near(at))
            at += 8;
        while (at < end && *at != '"' && *at != '\\' && *at >= 0x20)
            at++;
        if (at == end || *at < 0x20)
            return 0;
        if (*at == '"')
            break;
        value->escaped = 1;
        if (++at == end)
            return 0;
        if (*at == 'u') {
            int unit = code_unit(at + 1, end);
            if (unit < 0 || (unit >= 0xDC00 && unit < 0xE000))
                return 0;
            at += 4;
            if (unit >= 0xD800 && unit < 0xDC00) {
                if (end - at < 7 || at[1] != '\\' || at[2] != 'u')
                    return 0;
                unit = code_unit(at + 3, end);
                if (unit < 0xDC00 || unit >= 0xE000)
                    return 0;
                at += 6;
            }
        } else if (*at == 0 || !strchr("\"\\/bfnrt", *at))
            return 0;
    }
    value->length = at - value->start;
    r->at = at + 1;
    return 1;
}

static int skip_number(Reader *r) {
    const byte *at = r->at, *end = r->end;
    if (at < end && *at == '-')
        at++;
    if (at == end || !is_digit(*at))
        return 0;
    if (*at++ != '0')
        while (at < end && is_digit(*at))
            at++;
    if (at < end && *at == '.') {
        if (++at == end || !is_digit(*at))
            return 0;
        while (at < end && is_digit(*at))
            at++;
    }
    if (at < end && (*at | 0x20) == 'e') {
        const byte *digits;
        if (++at < end && (*at == '+' || *at == '-'))
            at++;
        for (digits = at; at < end && is_digit(*at); at++)
            ;
        if (at == digits || at - digits > 2)
            return 0;
    }
    if (at - r->at > NUMBER_BYTES_MAX)
        return 0;
    r->at = at;
    return 1;
}

static int skip_word(Reader *r, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length))
        return 0;
    r->at += length;
    return 1;
}

/* A value that is neither an object nor an array. */
static int skip_scalar(Reader *r, Value *value) {
    switch (*r->at) {
    case '"':
        return skip_string(r, value);
    case 't':
        return skip_word(r, "true");
    case 'f':
        return skip_word(r, "false");
    case 'n':
        return skip_word(r, "null");
    default:
        return skip_number(r);
    }
}

static int skip_key(Reader *r, Value *key) {
    skip_blanks(r);
    return r->at < r->end && *r->at == '"' && skip_string(r, key) && skip_byte(r, ':');
}

/* An object or an array, whose bracket is at r->at. */
static int skip_nested(Reader *r) {
    byte closing[DEPTH_MAX];
    int depth = 0;
    Value ignored;
    for (;;) {
        /* At a value. */
        skip_blanks(r);
        if (r->at == r->end)
            return 0;
        if (*r->at == '{' || *r->at == '[') {
            if (depth == DEPTH_MAX)
                return 0;
            closing[depth++] = *r->at++ == '{' ? '}' : ']';
            if (!skip_byte(r, closing[depth - 1])) {
                if (closing[depth - 1] == '}' && !skip_key(r, &ignored))
                    return 0;
                continue;
            }
            depth--;
        } else if (!skip_scalar(r, &ignored))
            return 0;
        /* After a value. */
        while (depth && !skip_byte(r, ',')) {
            if (!skip_byte(r, closing[depth - 1]))
                return 0;
            depth--;
        }
        if (!depth)
            return 1;
        if (closing[depth - 1] == '}' && !skip_key(r, &ignored))
            return 0;
    }
}

static int skip_value(Reader *r, Value *value) {
    const byte *start;
    skip_blanks(r);
    if (r->at == r->end)
        return 0;
    start = r->at;
    value->kind = *start;
    value->escaped = 0; /* skip_string sets it; the text of an object or a number is taken as it is */
    if (!(*start == '{' || *start == '[' ? skip_nested(r) : skip_scalar(r, value)))
        return 0;
    if (*start != '"') {
        value->start = start;
        value->length = r->at - start;
    }
    if (*start == 'n')
        value->kind = value->length = 0;
    return 1;
}

/* The 16 bytes of a UUID that is written with 36 characters. */
static int read_uuid(const Value *value, byte *uuid) {
    const byte *at = value->start;
    if (value->kind != '"' || value->length != 36)
        return 0;
    for (int i = 0; i < 16; i++) {
        int high, low;
        if (i == 4 || i == 6 || i == 8 || i == 10)
            if (*at++ != '-')
                return 0;
        high = hex_value(at[0]);
        low = hex_value(at[1]);
        if (high < 0 || low < 0)
            return 0;
        uuid[i] = (byte)(high << 4 | low);
        at += 2;
    }
    return 1;
}

static int find_field(const Value *key) {
    if (key->escaped)
        return -1;
    for (int field = 0; field < FIELDS; field++)
        if (key->length == NAMES[field].bytes && *key->start == *NAMES[field].text &&
            !memcmp(key->start, NAMES[field].text, key->length))
            return field;
    return FIELDS; /* any other one is ignored */
}

/* An event; of a repeated field the last value counts, but each must have its type. */
static int read_event(Reader *r, Value *fields, byte *uuid) {
    Value key, value;
    memset(fields, 0, FIELDS * sizeof *fields);
    if (!skip_byte(r, '{'))
        return 0;
    if (skip_byte(r, '}'))
        return 1;
    do {
        int field;
        if (!skip_key(r, &key) || (field = find_field(&key)) < 0 || !skip_value(r, &value))
            return 0;
        if (field == FIELDS)
            continue;
        if (field <= TYPE ? value.kind != '"' : field <= METADATA_JSON && value.kind && value.kind != '"')
            return 0;
        if (field == EVENT_ID && value.kind && !read_uuid(&value, uuid))
            return 0;
        fields[field] = value;
    } while (skip_byte(r, ','));
    return skip_byte(r, '}');
}

static byte *put_utf8(byte *to, uint32_t c) {
    if (c < 0x80)
        *to++ = (byte)c;
    else if (c < 0x800) {
        *to++ = (byte)(0xC0 | c >> 6);
        *to++ = (byte)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *to++ = (byte)(0xE0 | c >> 12);
        *to++ = (byte)(0x80 | (c >> 6 & 0x3F));
        *to++ = (byte)(0x80 | (c & 0x3F));
    } else {
        *to++ = (byte)(0xF0 | c >> 18);
        *to++ = (byte)(0x80 | (c >> 12 & 0x3F));
        *to++ = (byte)(0x80 | (c >> 6 & 0x3F));
        *to++ = (byte)(0x80 | (c & 0x3F));
    }
    return to;
}

/* A string that skip_string found, without its escapes: never longer than it is written. */
static byte *put_unescaped(byte *to, const Value *value) {
    static const char FROM[] = "bfnrt", TO[] = "\b\f\n\r\t";
    const byte *at = value->start, *end = at + value->length;
    while (at < end) {
        const char *known;
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        at++;
        if (*at == 'u') {
            uint32_t c = (uint32_t)code_unit(at + 1, end);
            at += 5;
            if (c >= 0xD800 && c < 0xE000) {
                c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t)code_unit(at + 2, end) - 0xDC00);
                at += 6;
            }
            to = put_utf8(to, c);
        } else {
            known = strchr(FROM, *at);
            *to++ = known ? (byte)TO[known - FROM] : *at;
            at++;
        }
    }
    return to;
}

static byte *put_length(byte *to, size_t n) {
    for (; n >= 0x80; n >>= 7)
        *to++ = (byte)(n | 0x80);
    *to++ = (byte)n;
    return to;
}

static byte *put_int64(byte *to, int64_t n) {
    for (int i = 0; i < 8; i++)
        *to++ = (byte)((uint64_t)n >> 8 * i);
    return to;
}

/* Writes a string with its length. Returns NULL if it exceeds `most` bytes, or characters if `in_characters`. */
static byte *put_text(byte *to, const Value *value, Py_ssize_t most, int in_characters) {
    byte *text, *end;
    if (!value->escaped) {
        text = put_length(to, value->length);
        memcpy(text, value->start, value->length);
        end = text + value->length;
    } else {
        /* Reserves a length prefix for the escaped text; the unescaped text may need a shorter one. */
        byte *written = put_length(to, value->length);
        end = put_unescaped(written, value);
        text = put_length(to, end - written);
        memmove(text, written, end - written);
        end -= written - text;
    }
    if (end - text > most) {
        Py_ssize_t characters = 0;
        if (!in_characters)
            return NULL;
        for (const byte *at = text; at < end; at++)
            characters += (*at & 0xC0) != 0x80;
        if (characters > most)
            return NULL;
    }
    return end;
}

static byte *put_nullable(byte *to, const Value *value, Py_ssize_t most) {
    *to++ = !value->length;
    return value->length ? put_text(to, value, most, 1) : to;
}

static int two_digits(const byte *at) {
    return is_digit(at[0]) && is_digit(at[1]) ? (at[0] - '0') * 10 + at[1] - '0' : -1;
}

/* Days from 1970-01-01, of the proleptic Gregorian calendar: the years begin in March, so that a leap day is the last
   one of its year (Howard Hinnant, chrono-compatible low-level date algorithms, days_from_civil). */
static int64_t days_from_civil(int year, int month, int day) {
    int cycle, of_cycle, of_year;
    year -= month <= 2;
    cycle = year / 400;
    of_cycle = year - cycle * 400;
    of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return (int64_t)cycle * 146097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719468;
}

/* Whole milliseconds of a number or of YYYY-MM-DDTHH:MM:SS, with a fraction or not, in UTC. */
static int read_timestamp(const Value *value, int64_t *ms) {
    static const byte DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const byte *t = value->start, *end = t + value->length;
    int century, year, month, day, hour, minute, second, fraction = 0, is_leap;
    if (is_digit(value->kind)) {
        if (value->length > 15)
            return 0;
        for (*ms = 0; t < end; t++) {
            if (!is_digit(*t))
                return 0;
            *ms = *ms * 10 + *t - '0';
        }
        return 1;
    }
    if (value->kind != '"' || value->length < 20 || t[4] != '-' || t[7] != '-' || t[10] != 'T' || t[13] != ':' ||
        t[16] != ':')
        return 0;
    century = two_digits(t);
    year = two_digits(t + 2);
    month = two_digits(t + 5);
    day = two_digits(t + 8);
    hour = two_digits(t + 11);
    minute = two_digits(t + 14);
    second = two_digits(t + 17);
    if (century < 0 || year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 59)
        return 0;
    year += century * 100;
    is_leap = !(year % 4) && (year % 100 || !(year % 400));
    if (!year || day > DAYS[month - 1] + (month == 2 && is_leap))
        return 0;
    t += 19;
    if (*t == '.') {
        const byte *digits = ++t;
        for (int unit = 100; t < end && is_digit(*t); t++, unit /= 10)
            fraction += (*t - '0') * unit;
        if (t == digits)
            return 0;
    }
    if (!(end - t == 1 && *t == 'Z') && !(end - t == 6 && !memcmp(t, "+00:00", 6)))
        return 0;
    *ms = (((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + fraction;
    return 1;
}

/* A UUIDv7 of this time. */
static int new_uuid(int64_t ms, byte *uuid) {
    const byte *random;
    if (!ids.left) {
        if (getrandom(ids.random, sizeof ids.random, 0) != sizeof ids.random)
            return 0;
        ids.left = IDS_AT_ONCE;
    }
    random = ids.random + 10 * --ids.left;
    for (int i = 0; i < 6; i++)
        uuid[i] = (byte)(ms >> (40 - 8 * i));
    memcpy(uuid + 6, random, 10);
    uuid[6] = 0x70 | (uuid[6] & 0x0F);
    uuid[8] = 0x80 | (uuid[8] & 0x3F);
    return 1;
}

/* Adds what the event omits because it is fixed; 0 for any other value. */
static int bind(Value *value, const Value *fixed) {
    if (fixed->length && !value->length)
        *value = *fixed;
    return !fixed->length || (!value->escaped && value->length == fixed->length &&
                              !memcmp(value->start, fixed->start, fixed->length));
}

static const Value NO_METADATA = {(const byte *)"{}", 2, '{', 0};

/* The row of an event, or NULL. `to` has room for what the event is written with, what is fixed, and 128 bytes. */
static byte *put_row(byte *to, Value *f, const byte *sent_id, const Rules *rules, const Call *call) {
    byte uuid[16];
    const Value *metadata = f + METADATA;
    int64_t timestamp_ms;

    if (!bind(f + PROJECT, &rules->project) || !bind(f + TENANT, &rules->tenant) || !bind(f + USER, &rules->user))
        return NULL;
    for (int field = PROJECT; field <= TYPE; field++)
        if (!f[field].length)
            return NULL;
    if (f[EVENT_ID].kind)
        memcpy(uuid, sent_id, 16);
    else if (!call->makes_ids || !new_uuid(call->received_ms, uuid))
        return NULL;
    if (f[TIMESTAMP].kind) {
        if (!read_timestamp(f + TIMESTAMP, &timestamp_ms))
            return NULL;
    } else if (uuid[6] >> 4 == 7 && uuid[8] >> 6 == 2) {
        timestamp_ms = 0;
        for (int i = 0; i < 6; i++)
            timestamp_ms = timestamp_ms << 8 | uuid[i];
    } else
        timestamp_ms = call->received_ms;
    if (timestamp_ms < call->oldest_ms || timestamp_ms > call->newest_ms)
        return NULL;

    for (int i = 0; i < 8; i++) {
        to[i] = uuid[7 - i];
        to[8 + i] = uuid[15 - i];
    }
    to += 16;
    for (int field = PROJECT; field <= SESSION; field++)
        if (!(to = put_text(to, f + field, rules->identifier_chars_max, 1)))
            return NULL;
    if (!(to = put_nullable(to, f + USER, rules->identifier_chars_max)) ||
        !(to = put_text(to, f + TYPE, rules->identifier_chars_max, 1)) ||
        !(to = put_nullable(to, f + ITEM, rules->item_id_chars_max)))
        return NULL;
    if (f[METADATA_JSON].length)
        metadata = f + METADATA_JSON;
    else if (metadata->kind && metadata->kind != '{')
        return NULL;
    if (!metadata->kind)
        metadata = &NO_METADATA;
    if (!(to = put_text(to, metadata, rules->metadata_bytes_max, 0)))
        return NULL;
    to = put_int64(to, timestamp_ms);
    return put_int64(to, call->received_ms);
}

typedef struct {
    PyObject_VAR_HEAD /* the size is that of `fixed` */
    Rules rules;
    byte fixed[]; /* the texts that rules.project and others point to */
} ReaderObject;

static PyTypeObject *reader_type; /* of the module, which is never unloaded */

/* What holds for one call. */
static Call call_of(const Rules *rules, int64_t received_ms, int makes_ids) {
    Call call = {received_ms, 0, received_ms + rules->future_ms_max, makes_ids};
    /* As Limits.oldest_ms. */
    if (rules->age_ms_max && received_ms > rules->age_ms_max)
        call.oldest_ms = received_ms - rules->age_ms_max;
    return call;
}

static PyObject *reader_rows(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    const ReaderObject *reader = (ReaderObject *)self;
    char *text, *separator;
    Py_ssize_t text_bytes, separator_bytes;
    long long received_ms;
    Reader r;
    Call call;
    PyObject *found;
    byte *row;
    int plain = 1;

    if (given != 4) {
        PyErr_SetString(PyExc_TypeError, "rows takes 4 arguments");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(args[0], &text, &text_bytes) < 0 ||
        PyBytes_AsStringAndSize(args[1], &separator, &separator_bytes) < 0)
        return NULL;
    received_ms = PyLong_AsLongLong(args[2]);
    if (received_ms == -1 && PyErr_Occurred())
        return NULL;
    call = call_of(&reader->rules, received_ms, PyObject_IsTrue(args[3]));
    r.at = (const byte *)text;
    r.end = r.at + text_bytes;
    r.lines = separator_bytes == 1 && *separator == '\n';
    row = PyMem_Malloc(r.end - r.at + reader->rules.fixed_bytes + 128);
    if (!row)
        return PyErr_NoMemory();
    found = PyList_New(0);
    while (found && plain) {
        Value fields[FIELDS];
        byte sent_id[16];
        byte *row_end = NULL;
        PyObject *one;
        int failed;
        skip_blanks(&r);
        if (r.lines) { /* blank lines are no elements */
            while (r.at < r.end && *r.at == '\n') {
                r.at++;
                skip_blanks(&r);
            }
            if (r.at == r.end)
                break;
        }
        if (!read_event(&r, fields, sent_id) || !(row_end = put_row(row, fields, sent_id, &reader->rules, &call))) {
            plain = 0;
            break;
        }
        one = PyBytes_FromStringAndSize((const char *)row, row_end - row);
        failed = !one || PyList_Append(found, one);
        Py_XDECREF(one);
        if (failed)
            Py_CLEAR(found);
        skip_blanks(&r);
        if (r.at == r.end)
            break;
        plain = *r.at++ == (r.lines ? '\n' : ',');
    }
    PyMem_Free(row);
    if (found && !plain) {
        Py_DECREF(found);
        Py_RETURN_NONE;
    }
    return found;
}

static PyObject *new_reader(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(named)) {
    Rules rules;
    long long age_ms_max, future_ms_max;
    const char *project, *tenant, *user;
    ReaderObject *self;
    byte *to;

    memset(&rules, 0, sizeof rules);
    if (!PyArg_ParseTuple(args, "nnnLLy#y#y#", &rules.identifier_chars_max, &rules.item_id_chars_max,
                          &rules.metadata_bytes_max, &age_ms_max, &future_ms_max, &project, &rules.project.length,
                          &tenant, &rules.tenant.length, &user, &rules.user.length))
        return NULL;
    rules.age_ms_max = age_ms_max;
    rules.future_ms_max = future_ms_max;
    if (!rules.metadata_bytes_max)
        rules.metadata_bytes_max = PY_SSIZE_T_MAX;
    rules.fixed_bytes = rules.project.length + rules.tenant.length + rules.user.length;
    self = (ReaderObject *)PyType_GenericAlloc(type, rules.fixed_bytes);
    if (!self)
        return NULL;
    to = self->fixed;
    memcpy(to, project, rules.project.length);
    rules.project.start = to;
    to += rules.project.length;
    memcpy(to, tenant, rules.tenant.length);
    rules.tenant.start = to;
    to += rules.tenant.length;
    memcpy(to, user, rules.user.length);
    rules.user.start = to;
    rules.project.kind = rules.tenant.kind = rules.user.kind = '"';
    self->rules = rules;
    return (PyObject *)self;
}

static void free_reader(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* The (reader, head, bytes of the body) of the request in `data` that is known and complete, or NULL; borrowed. `*body` is
   where its body begins. */
static PyObject *find_known(const byte *data, Py_ssize_t length, PyObject *known, const byte **body) {
    Py_ssize_t searched = length < HEAD_BYTES_MAX + 4 ? length : HEAD_BYTES_MAX + 4;
    const byte *head_end = memmem(data, searched, "\r\n\r\n", 4);
    PyObject *start, *found;
    if (!head_end || !(start = PyBytes_FromStringAndSize((const char *)data, head_end - data)))
        return NULL;
    found = PyDict_GetItemWithError(known, start);
    Py_DECREF(start);
    if (!found)
        return NULL;
    *body = head_end + 4;
    return PyLong_AsSsize_t(PyTuple_GetItem(found, 2)) == data + length - *body ? found : NULL;
}

static int is_ascii(const byte *at, const byte *end) {
    uint64_t x, high = 0;
    for (; end - at >= 8; at += 8) {
        memcpy(&x, at, 8);
        high |= x;
    }
    for (; at < end; at++)
        high |= *at;
    return !(high & 0x8080808080808080u);
}

static PyObject *single(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    byte here[SHORT_BYTES + 128], *row = here, sent_id[16], *row_end = NULL;
    char *data;
    Py_ssize_t length, room;
    long long received_ms;
    PyObject *known, *reader, *found;
    const Rules *rules;
    Value fields[FIELDS];
    Reader r;

    if (given != 3) {
        PyErr_SetString(PyExc_TypeError, "single takes 3 arguments");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(args[0], &data, &length) < 0)
        return NULL;
    received_ms = PyLong_AsLongLong(args[2]);
    if (received_ms == -1 && PyErr_Occurred())
        return NULL;
    known = find_known((const byte *)data, length, args[1], &r.at);
    if (!known) {
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NONE;
    }
    reader = PyTuple_GetItem(known, 0);
    if (!reader || Py_TYPE(reader) != reader_type) {
        PyErr_SetString(PyExc_TypeError, "known must have tuples that begin with a Reader");
        return NULL;
    }
    rules = &((ReaderObject *)reader)->rules;
    r.end = (const byte *)data + length;
    r.lines = 0;
    if (!is_ascii(r.at, r.end))
        Py_RETURN_NONE;
    room = r.end - r.at + rules->fixed_bytes;
    if (room > SHORT_BYTES && !(row = PyMem_Malloc(room + 128)))
        return PyErr_NoMemory();
    if (read_event(&r, fields, sent_id)) {
        Call call = call_of(rules, received_ms, 1);
        skip_blanks(&r);
        if (r.at == r.end)
            row_end = put_row(row, fields, sent_id, rules, &call);
    }
    found = NULL;
    if (row_end) {
        PyObject *made = PyBytes_FromStringAndSize((const char *)row, row_end - row);
        if (made) {
            found = PyTuple_Pack(2, PyTuple_GetItem(known, 1), made);
            Py_DECREF(made);
        }
    } else
        found = Py_NewRef(Py_None);
    if (row != here)
        PyMem_Free(row);
    return found;
}

static PyMethodDef READER_METHODS[] = {
    {"rows", (PyCFunction)(void (*)(void))reader_rows, METH_FASTCALL, "The rows of plain events, or None."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef METHODS[] = {
    {"single", (PyCFunction)(void (*)(void))single, METH_FASTCALL, "The head and row of a known request, or None."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot READER_SLOTS[] = {
    {Py_tp_new, new_reader},
    {Py_tp_dealloc, free_reader},
    {Py_tp_methods, READER_METHODS},
    {0, NULL},
};

static PyType_Spec READER = {"_nealytics_plain_rows.Reader", sizeof(ReaderObject), 1, Py_TPFLAGS_DEFAULT, READER_SLOTS};

static int add_members(PyObject *module) {
    static int has_handler = 0;
    PyObject *type;
    int added;
    if (!has_handler && pthread_atfork(NULL, NULL, forget_ids)) {
        PyErr_SetString(PyExc_OSError, "pthread_atfork failed");
        return -1;
    }
    has_handler = 1;
    type = PyType_FromSpec(&READER);
    if (!type)
        return -1;
    added = PyModule_AddType(module, (PyTypeObject *)type);
    reader_type = (PyTypeObject *)type;
    return added < 0 ? -1 : PyModule_AddIntConstant(module, "VERSION", VERSION);
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, add_members}, {0, NULL}};

static PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_nealytics_plain_rows", NULL, 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__nealytics_plain_rows(void) { return PyModuleDef_Init(&MODULE); }
