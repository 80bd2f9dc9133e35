/* The server as one file: unpacks the compiled program once per version, and becomes it.
 *
 * The payload (PAYLOAD, a tar compressed by zstd) is part of this program. It is unpacked into a directory that is
 * named by its SHA-256 (NAME); from then on a start counts the files there and is one execve. No parent stays behind: the process id,
 * its signals, systemd's watchdog and the death of its parent are the program's own. Workers are started by the program
 * through /proc/self/exe, which is the unpacked one, so they never come here.
 *
 * What it promises:
 *   - the directory's name appears only when it is complete and on disk; of several first starts at once, one wins and
 *     the others use what it made
 *   - a directory in which a file is missing or has another size is unpacked again
 *   - it runs only what it unpacked itself: the directory belongs to this user, nobody else may write to it, and a
 *     link in its place is refused
 *   - the versions that nothing runs any more are removed when a new one is unpacked: a running program holds a shared
 *     lock on its own directory, inherited through execve
 *   - if it cannot unpack, it says where it tried, why not, and what to set
 *
 * Written for Linux and a compiler that knows GNU C; build/single_file.py compiles it.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* As one unit, in this order: so is the decompressor meant that comes with Nuitka. */
#include <zstd.h>

#include <common/error_private.c>
#include <common/fse_decompress.c>
#include <common/xxhash.c>
#include <common/zstd_common.c>

#include <common/entropy_common.c>
#include <decompress/huf_decompress.c>
#include <decompress/zstd_ddict.c>
#include <decompress/zstd_decompress.c>
#include <decompress/zstd_decompress_block.c>

#define VARIABLE "NEALYTICS_UNPACK_DIR"
#define PROGRAM "nealytics"

__asm__(".section .rodata\n"
        ".global payload, payload_end\n"
        ".balign 16\n"
        "payload:\n.incbin \"" PAYLOAD "\"\n"
        "payload_end:\n.previous\n");
extern const char payload[], payload_end[];

/* Why the places that were tried so far will not do; shown if none does. */
static char reasons[8192];
static mode_t umask_before;

static void refuse(const char *place, const char *why) {
    size_t used = strlen(reasons);
    snprintf(reasons + used, sizeof reasons - used, "  %s: %s\n", place, why);
}

/* One member of the payload, as POSIX draws it. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2],
        owner[32], group[32], device_major[8], device_minor[8], prefix[155], padding[12];
};

/* Closes a file; errno still says what failed before. */
static void close_quietly(int file) {
    int error = errno;
    close(file);
    errno = error;
}

/* Writes a file and closes it. */
static bool write_file(int file, const char *content, size_t size, mode_t mode) {
    for (size_t written = 0; written < size;) {
        ssize_t some = write(file, content + written, size - written);
        if (some < 0 && errno != EINTR) {
            close_quietly(file);
            return false;
        }
        if (some > 0) written += (size_t)some;
    }
    if (fchmod(file, mode) != 0) {
        close_quietly(file);
        return false;
    }
    return close(file) == 0;
}

/* The payload's members; if false, errno says why. */
static bool unpack_members(int directory, const char *at, const char *end) {
    while (end - at >= 512 && *at != '\0') {
        const struct header *member = (const struct header *)at;
        char name[260];
        if (member->prefix[0]) {
            snprintf(name, sizeof name, "%.155s/%.100s", member->prefix, member->name);
        } else {
            snprintf(name, sizeof name, "%.100s", member->name);
        }
        size_t size = strtoul(member->size, NULL, 8);
        at += 512;
        if (member->type == '5') {
            if (mkdirat(directory, name, 0700) != 0) return false;
        } else {
            int file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
            if (file < 0 || !write_file(file, at, size, (mode_t)strtoul(member->mode, NULL, 8) & 0500)) return false;
        }
        at += (size + 511) / 512 * 512;
    }
    return true;
}

/* A directory, and no link to one. */
static int open_directory(int parent, const char *name) {
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The same, to list what is in it; closedir() closes it. */
static DIR *open_listing(int parent, const char *name) {
    int directory = open_directory(parent, name);
    DIR *listing = directory < 0 ? NULL : fdopendir(directory);
    if (listing == NULL && directory >= 0) close_quietly(directory);
    return listing;
}

/* Removes a directory and what is in it, as far as that is allowed. */
static void remove_tree(int parent, const char *name) {
    DIR *listing = open_listing(parent, name);
    if (listing == NULL) return;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(listing), entry->d_name, 0) != 0) remove_tree(dirfd(listing), entry->d_name);
    }
    closedir(listing);
    unlinkat(parent, name, AT_REMOVEDIR);
}

/* Other versions, and what a killed start left, unless a process holds them. */
static void remove_unused(int parent) {
    DIR *listing = open_listing(parent, ".");
    if (listing == NULL) return;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (entry->d_name[0] == '.' && strncmp(entry->d_name, ".new-", 5) != 0) continue;
        if (strcmp(entry->d_name, NAME) == 0) continue;
        /* Only what has a name as ours: the place may be a cache that others of this name use. */
        if (entry->d_name[0] != '.' && strspn(entry->d_name, "0123456789abcdef") != strlen(NAME)) continue;
        int other = open_directory(parent, entry->d_name);
        if (other < 0) continue;
        if (flock(other, LOCK_EX | LOCK_NB) == 0) remove_tree(parent, entry->d_name);
        close(other);
    }
    closedir(listing);
}

/* A directory of ours: not a link, not somebody else's, not for others to write. */
static bool is_ours(int directory) {
    struct stat status;
    if (fstat(directory, &status) != 0) return false;
    if (status.st_uid == geteuid() && (status.st_mode & 022) == 0) return true;
    errno = EPERM;
    return false;
}

/* Counts the files below a directory and their bytes. */
static void measure(int parent, const char *name, unsigned long *files, unsigned long long *bytes) {
    DIR *listing = open_listing(parent, name);
    if (listing == NULL) return;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (fstatat(dirfd(listing), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISDIR(status.st_mode)) {
            measure(dirfd(listing), entry->d_name, files, bytes);
        } else {
            *files += 1;
            *bytes += (unsigned long long)status.st_size;
        }
    }
    closedir(listing);
}

/* Whether no file is missing or cut: what clears up caches by age takes single files. */
static bool is_whole(int version) {
    unsigned long files = 0;
    unsigned long long bytes = 0;
    measure(version, ".", &files, &bytes);
    return files == FILES && bytes == BYTES;
}

/* Unpacks the payload and gives it its name, unless another start was first; if false, errno says why. */
static bool unpack_version(int parent, const char *place) {
    unsigned long long size = ZSTD_getFrameContentSize(payload, (size_t)(payload_end - payload));
    char *unpacked = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (unpacked == MAP_FAILED) return false;
    size_t result = ZSTD_decompress(unpacked, size, payload, (size_t)(payload_end - payload));
    if (ZSTD_isError(result) || result != size) {
        /* The frame has a checksum. No other place will do better. */
        fprintf(stderr, "nealytics: this file is damaged; download it again and compare it with SHA256SUMS\n");
        exit(1);
    }
    bool done = false;
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/.new-XXXXXX", place) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
    } else if (mkdtemp(path) != NULL) {
        const char *made = strrchr(path, '/') + 1;
        int directory = open_directory(parent, made);
        /* Locked, so that another's clearing up spares it; on disk before it gets its name, so that a power cut
         * cannot leave a name with half a program. */
        done = directory >= 0 && flock(directory, LOCK_SH | LOCK_NB) == 0 &&
               unpack_members(directory, unpacked, unpacked + size) && syncfs(directory) == 0 &&
               (renameat(parent, made, parent, NAME) == 0 || errno == EEXIST || errno == ENOTEMPTY);
        int error = errno;
        remove_tree(parent, made); /* on failure, and if another was first */
        if (directory >= 0) close(directory);
        errno = error;
    }
    int error = errno;
    munmap(unpacked, size);
    errno = error;
    return done;
}

/* The directory of this version, opened and locked by us for as long as the program runs; made if it is not there. */
static int open_version(int parent, const char *place) {
    /* Again and again, since several starts may unpack, find damage and clear up at once: 100 times 10 ms and more. */
    for (int attempt = 0; attempt < 100; attempt++) {
        int version = open_directory(parent, NAME);
        if (version < 0) {
            if (errno != ENOENT) return -1;
            if (unpack_version(parent, place)) {
                remove_unused(parent);
            } else if (errno != ENOENT && errno != EWOULDBLOCK) { /* these: cleared up before it was locked */
                return -1;
            }
            continue;
        }
        struct stat opened, named;
        if (!is_ours(version) || flock(version, LOCK_SH) != 0) {
            close_quietly(version);
            return -1;
        }
        /* What was opened may be another's that was removed before it was locked. */
        if (fstat(version, &opened) == 0 && fstatat(parent, NAME, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            opened.st_ino == named.st_ino) {
            if (is_whole(version)) return version;
            /* Unpacked again, unless a program runs from what is left; another start may be about the same. */
            if (flock(version, LOCK_EX | LOCK_NB) == 0) {
                remove_tree(parent, NAME);
            } else if (attempt >= 50) {
                fprintf(stderr,
                        "nealytics: %s/%s has lost files, and a program runs from it; stop that, then start again\n",
                        place, NAME);
                exit(1);
            }
        }
        close(version);
        usleep(10000);
    }
    errno = EBUSY;
    return -1;
}

/* Why nothing of ours may be below a directory: others could replace it, or it may not be executed. NULL if it may. */
static const char *why_not(int directory) {
    struct stat status;
    struct statvfs file_system;
    if (fstat(directory, &status) != 0 || fstatvfs(directory, &file_system) != 0) return strerror(errno);
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
        return "belongs to another user, who may replace what is in it";
    }
    if ((status.st_mode & 022) != 0 && (status.st_mode & S_ISVTX) == 0) {
        return "others may write to it and replace what is in it (its mode has no sticky bit)";
    }
    if (file_system.f_flag & ST_NOEXEC) {
        return "is on a file system from which nothing may be executed (mounted noexec)";
    }
    return NULL;
}

/* Opens `base` and, in turn, the directories of `below`, which are made if need be; -1 if one will not do. */
static int open_place(const char *base, const char *below) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", base);
    int directory = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (directory >= 0 && *below != '\0') {
        const char *why = why_not(directory);
        if (why != NULL) {
            refuse(path, why);
            close(directory);
            return -1;
        }
        size_t length = 1 + strcspn(below + 1, "/");
        bool last = below[length] == '\0';
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)length - 1, below + 1);
        size_t used = strlen(path);
        snprintf(path + used, sizeof path - used, "/%s", name);
        below += length;
        /* ~/.cache may be a link to a larger disk, what is ours is none. */
        int next = mkdirat(directory, name, 0700) != 0 && errno != EEXIST
                       ? -1
                       : openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (last ? O_NOFOLLOW : 0));
        close_quietly(directory);
        directory = next;
    }
    if (directory < 0) refuse(path, errno == ELOOP || errno == ENOTDIR ? "is not a directory" : strerror(errno));
    return directory;
}

/* Becomes the program unpacked below `base`, or returns. `below`: the directory in it that is ours, made if need be;
 * `base` itself is not ours to make. */
static void run_from(const char *base, const char *below, char **arguments) {
    if (base == NULL || base[0] != '/') return;
    char place[PATH_MAX], program[PATH_MAX];
    if (snprintf(place, sizeof place, "%s%s", base, below) >= (int)sizeof place ||
        snprintf(program, sizeof program, "%s/%s/%s", place, NAME, PROGRAM) >= (int)sizeof program) {
        return refuse(base, strerror(ENAMETOOLONG));
    }
    int parent = open_place(base, below);
    if (parent < 0) return;
    const char *why = is_ours(parent) ? why_not(parent) : "belongs to another user, or others may write to it";
    int version = why != NULL ? -1 : open_version(parent, place);
    if (version < 0) refuse(place, why != NULL ? why : strerror(errno));
    close(parent);
    if (version < 0) return;

    fcntl(version, F_SETFD, 0); /* the lock lives as long as the program */
    umask(umask_before);
    execv(program, arguments);
    refuse(program, strerror(errno));
    umask(077);
    close(version);
}

int main(int count, char **arguments) {
    (void)count;
    umask_before = umask(077);
    char own[64];
    snprintf(own, sizeof own, "/nealytics-%u", (unsigned)geteuid());
    const char *named = getenv(VARIABLE);
    if (named != NULL && named[0] != '\0') {
        /* Who names a place wants that one. */
        if (named[0] != '/') refuse(named, "is not an absolute path");
        run_from(named, own, arguments);
    } else {
        /* The first is systemd's CacheDirectory=. Somebody else's home (sudo keeps HOME) is no place for us. */
        run_from(getenv("CACHE_DIRECTORY"), "/program", arguments);
        run_from(getenv("XDG_CACHE_HOME"), "/nealytics", arguments);
        const char *home = getenv("HOME");
        struct stat status;
        if (home != NULL && stat(home, &status) == 0 && status.st_uid == geteuid()) {
            run_from(home, "/.cache/nealytics", arguments);
        }
        /* Sticky directories: others cannot move away or replace what we make there, and what they made is refused. */
        run_from("/var/tmp", own, arguments);
        run_from("/tmp", own, arguments);
    }
    fprintf(stderr,
            "nealytics: cannot unpack the program anywhere:\n%s"
            "set " VARIABLE " to a directory in which this user may write and execute, with %u MB free\n",
            reasons, (unsigned)(ZSTD_getFrameContentSize(payload, (size_t)(payload_end - payload)) >> 20) + 1);
    return 1;
}
