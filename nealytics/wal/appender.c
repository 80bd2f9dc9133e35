/* A thread that appends to a file and syncs it, without Python's lock.

   Appender(event): `event` is an eventfd, which becomes readable when an append has ended.
     append(descriptor, data)   begins one; the previous one must have ended, and `result` must have been called
     result()                   (errno of write or 0, errno of fdatasync or 0, seconds of the fdatasync)
     close()                    ends the thread, after the append that it works on

   A Python thread that has to do the same takes the lock three times for each group. While it waits for the lock, every
   step of the event loop wakes it in vain: a futex call each (docs/decisions/0049-appender.md). appender.py has the
   promises; this file makes the same system calls as `files._OsFile` and nothing else. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

/* Of the methods. appender.py does not use a module of another version, compiled from older sources. */
#define VERSION 1

enum State { CLOSED, IDLE, WORKING, ENDED };

typedef struct {
    PyObject_HEAD /* a new object is all zeros: CLOSED, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* `state` was set by a method */
    enum State state;       /* ENDED: the result has not been read */
    int event;
    /* The append. `data` keeps the bytes until its result is read. */
    PyObject *data;
    const char *bytes;
    Py_ssize_t length;
    int descriptor;
    int write_error, sync_error;
    double sync_seconds;
} Appender;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* In the thread. Signals are blocked there, so no call is interrupted. */
static void work(Appender *self) {
    const ssize_t taken = write(self->descriptor, self->bytes, self->length);
    double began;
    self->sync_error = 0;
    self->sync_seconds = 0;
    /* A disk, a quota or a limit that ends inside the data takes what fits. */
    self->write_error = taken < 0 ? errno : taken < self->length ? ENOSPC : 0;
    if (self->write_error)
        return;
    began = now();
    if (fdatasync(self->descriptor))
        self->sync_error = errno; /* never retried: the kernel may have dropped the pages */
    self->sync_seconds = now() - began;
}

static void *run(void *argument) {
    Appender *self = argument;
    const uint64_t one = 1;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        while (self->state == IDLE || self->state == ENDED)
            pthread_cond_wait(&self->changed, &self->lock);
        if (self->state == CLOSED)
            break;
        pthread_mutex_unlock(&self->lock);
        work(self);
        pthread_mutex_lock(&self->lock);
        self->state = ENDED;
        pthread_cond_signal(&self->changed); /* for `close` */
        while (write(self->event, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static int init(PyObject *object, PyObject *args, PyObject *names) {
    Appender *self = (Appender *)object;
    sigset_t all, before;
    int error;
    (void)names;
    if (self->state != CLOSED) {
        PyErr_SetString(PyExc_RuntimeError, "the appender has a thread");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "i", &self->event))
        return -1;
    self->state = IDLE;
    sigfillset(&all); /* signals are for Python's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&self->thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        self->state = CLOSED;
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static PyObject *append(PyObject *object, PyObject *args) {
    Appender *self = (Appender *)object;
    PyObject *data;
    int descriptor, is_idle;
    if (!PyArg_ParseTuple(args, "iS", &descriptor, &data))
        return NULL;
    pthread_mutex_lock(&self->lock);
    is_idle = self->state == IDLE;
    if (is_idle) {
        self->data = Py_NewRef(data);
        self->bytes = PyBytes_AsString(data);
        self->length = PyBytes_Size(data);
        self->descriptor = descriptor;
        self->state = WORKING;
        pthread_cond_signal(&self->changed);
    }
    pthread_mutex_unlock(&self->lock);
    if (is_idle)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_RuntimeError, "the appender works, or is closed");
    return NULL;
}

static PyObject *result(PyObject *object, PyObject *none) {
    Appender *self = (Appender *)object;
    uint64_t count;
    int has_ended;
    (void)none;
    pthread_mutex_lock(&self->lock);
    has_ended = self->state == ENDED;
    if (has_ended)
        self->state = IDLE;
    pthread_mutex_unlock(&self->lock);
    if (!has_ended) {
        PyErr_SetString(PyExc_RuntimeError, "no append has ended");
        return NULL;
    }
    if (read(self->event, &count, sizeof count) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_CLEAR(self->data);
    return Py_BuildValue("iid", self->write_error, self->sync_error, self->sync_seconds);
}

static void end(Appender *self) {
    int was_closed;
    pthread_mutex_lock(&self->lock);
    while (self->state == WORKING)
        pthread_cond_wait(&self->changed, &self->lock);
    was_closed = self->state == CLOSED;
    self->state = CLOSED;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    if (!was_closed)
        pthread_join(self->thread, NULL);
}

static PyObject *close_(PyObject *object, PyObject *none) {
    (void)none;
    Py_BEGIN_ALLOW_THREADS
    end((Appender *)object);
    Py_END_ALLOW_THREADS
    Py_CLEAR(((Appender *)object)->data);
    Py_RETURN_NONE;
}

static void dealloc(PyObject *object) {
    Appender *self = (Appender *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_BEGIN_ALLOW_THREADS
    end(self);
    Py_END_ALLOW_THREADS
    Py_CLEAR(self->data);
    release(object);
    Py_DECREF(type);
}

static PyMethodDef METHODS[] = {
    {"append", append, METH_VARARGS, "Begins to append the bytes to the file and to sync it."},
    {"result", result, METH_NOARGS, "The errors of the append that has ended, and the seconds of its fdatasync."},
    {"close", close_, METH_NOARGS, "Ends the thread."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot TYPE_SLOTS[] = {{Py_tp_new, PyType_GenericNew},
                                   {Py_tp_init, init},
                                   {Py_tp_dealloc, dealloc},
                                   {Py_tp_methods, METHODS},
                                   {0, NULL}};

static PyType_Spec TYPE = {"_nealytics_appender.Appender", sizeof(Appender), 0, Py_TPFLAGS_DEFAULT, TYPE_SLOTS};

static int add_all(PyObject *module) {
    PyObject *type = PyType_FromSpec(&TYPE);
    int failed = !type || PyModule_AddObjectRef(module, "Appender", type);
    Py_XDECREF(type);
    return failed ? -1 : PyModule_AddIntConstant(module, "VERSION", VERSION);
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, add_all}, {0, NULL}};

static PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_nealytics_appender", NULL, 0, NULL, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__nealytics_appender(void) { return PyModuleDef_Init(&MODULE); }
