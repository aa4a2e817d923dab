/* Launches: when a device worked on what steps gave to it, by an event that is put behind it and asked for later.
 *
 * Nothing here waits for the device. A device works in order, so a piece of work begins when what was given before it
 * ends, or when the host begins to give it, whichever is later; no event is put for that, since one costs as much as a
 * launch. Where the device finishes before the host has launched everything, nothing tells when it worked in between; so
 * beside the time of the last event stands when the host put it: from then on the device has nothing to wait for.
 *
 * The device's clock is tied to this machine's by an anchor: an event that was put into an empty queue, so that it came
 * between two looks at the clock. The uncertainty of a time is that of its anchor, and grows with the distance from it.
 *
 * The functions that put events are called by address (who finds them: device/eventcalls.py). They may be Python's in
 * the end and let another thread run; what is changed around a call is in order before it.
 */
#include "_launches.h"
#include "_events.h"
#include "_nvtx.h"

enum {
    NOT_READY = 600, /* of CUDA and of HIP */
    EVENT_NS = 500,  /* the resolution of CUDA's events */
    ANCHOR_PERIOD_NS = 1000000000,
    ANCHOR_WAIT_NS = 50000, /* how long an anchor is looked for before another try is left to a later step */
    SOON_NS = 100000,       /* sampling that is launched so soon after the forward is of one piece with it */
    MOST_READ = 4,          /* pieces of work at a time, so that no step pays for many */
    MOST_UNREAD = 4,        /* beyond these a step reads before it begins: where nothing waits, nothing else reads */
    WORDS = 7,
};
enum { ANNOUNCED, NEAR, CLOSE };
static const double NS_PER_MS = 1e6;
static const double DRIFT = 20e-6;   /* by how much two quartz clocks may differ in speed */
static const double FLOAT = 0x1p-24; /* the time between two events is a 32-bit float */

typedef struct {
    int (*create)(void **event);
    int (*record)(void *event, void *stream);
    int (*query)(void *event);
    int (*elapsed)(float *ms, void *begin, void *end);
    int (*clear)(void); /* forget the last error, for which torch takes one of its own */
    int64_t (*clock)(void);
} Calls;

/* What was given to the device between two looks at the host's clock, and the event behind it. */
typedef struct Work {
    struct Work *next;
    void *event;
    int64_t step, begun, given;
} Work;

typedef struct {
    PyObject_HEAD
    PyObject *find, *give_up;
    PyObject *functions; /* what `find` gave; NULL before it is asked, and where the device is not timed */
    PyObject *device, *stream;
    Calls calls;
    uint16_t code;
    int sought, reading;
    int launching;
    int64_t step, begun; /* of what the host launches now; step -1: a dummy batch */
    int closeness;       /* of `begun` to its first launch: ANNOUNCED, NEAR or CLOSE */
    int64_t paused;      /* since when its launches rest; 0 where they do not */
    Work *first, **tail; /* given and not read */
    int unread;
    Work *spare;
    int64_t last_end; /* of what was read last */
    struct {
        Work *work; /* NULL before the first */
        int64_t at, uncertainty;
        int64_t looked; /* when its time was last looked up, not derived */
    } anchor;
} Launches;

/* The device is not timed any more, and all else is recorded as before. */
static void failed(Launches *self, const char *call, int code) {
    PyObject *functions = self->functions;
    if (!functions) return; /* another thread's call failed before */
    self->functions = NULL;
    if (self->calls.clear) self->calls.clear();
    PyObject *done = PyObject_CallFunction(self->give_up, "Osi", functions, call, code);
    if (!done) PyErr_WriteUnraisable(self->give_up);
    Py_XDECREF(done); /* `functions` are kept: another thread may be in one of its functions */
}

static int is_over(Launches *self, const Work *work) {
    int code = self->calls.query(work->event);
    if (code == NOT_READY && self->calls.clear) self->calls.clear();
    if (code && code != NOT_READY) failed(self, "EventQuery", code);
    return !code;
}

/* The address of this thread's stream; its NULL is the default one, and an exception is set where it is not known. */
static void *current_stream(Launches *self) {
    if (self->stream == Py_None) return NULL;
    PyObject *device = PyObject_CallNoArgs(self->device);
    PyObject *address = device ? PyObject_CallOneArg(self->stream, device) : NULL;
    void *stream = address ? PyLong_AsVoidPtr(address) : NULL;
    Py_XDECREF(device);
    Py_XDECREF(address);
    return stream;
}

static void give_back(Launches *self, Work *work) {
    work->next = self->spare;
    self->spare = work;
}

static Work *take_spare(Launches *self) {
    Work *work = self->spare;
    if (work) {
        self->spare = work->next;
        return work;
    }
    work = PyMem_Calloc(1, sizeof(Work));
    int code = work ? self->calls.create(&work->event) : 0;
    if (!code) return work;
    PyMem_Free(work);
    failed(self, "EventCreate", code);
    return NULL;
}

/* An event in the thread's stream; NULL where none can be put. */
static Work *put(Launches *self) {
    Work *work = take_spare(self);
    if (!work) return NULL;
    void *stream = current_stream(self);
    int unknown = PyErr_Occurred() != NULL;
    PyErr_Clear();
    int code = unknown ? -1 : self->calls.record(work->event, stream);
    if (!code) return work;
    give_back(self, work);
    failed(self, unknown ? "current stream" : "EventRecord", code);
    return NULL;
}

/* Put an event into the empty queue, and see it come. */
static void take_anchor(Launches *self) {
    int64_t before = self->calls.clock(), after = before;
    Work *work = put(self);
    if (!work) return;
    int over = 0;
    while (!over && self->functions && after - before < ANCHOR_WAIT_NS) {
        over = is_over(self, work);
        after = self->calls.clock();
    }
    if (!over) {
        give_back(self, work);
        return;
    }
    if (self->anchor.work) give_back(self, self->anchor.work);
    self->anchor.work = work;
    self->anchor.at = before + (after - before) / 2;
    self->anchor.uncertainty = (after - before) / 2 + 1;
    self->anchor.looked = after;
}

/* List a piece of the device's work: three times of 64 bits in halves, the low one first, and the uncertainty. */
static void list_work(Launches *self, const Work *work, int64_t begin, int64_t end, int64_t uncertainty) {
    uint32_t known = uncertainty < UINT32_MAX ? (uint32_t)uncertainty : UINT32_MAX;
    uint32_t words[WORDS] = {begin, begin >> 32, end, end >> 32, work->given, work->given >> 32, known};
    write_list(self->code, 0, work->step, words, WORDS);
    if (nvtx_on && writing()) nvtx_words(self->code, 0, words, WORDS, work->step);
}

/* Read the first piece, whose event has come. */
static void read_first(Launches *self) {
    Work *work = self->first;
    float ms;
    int code = self->calls.elapsed(&ms, self->anchor.work->event, work->event);
    if (code) {
        failed(self, "EventElapsedTime", code);
        return;
    }
    int64_t elapsed = (int64_t)(ms * NS_PER_MS + 0.5), end = self->anchor.at + elapsed;
    int64_t begin = work->begun > self->last_end ? work->begun : self->last_end;
    int64_t uncertainty = self->anchor.uncertainty + EVENT_NS + (int64_t)(elapsed * (DRIFT + FLOAT) + 0.5);
    list_work(self, work, begin < end ? begin : end, end, uncertainty);
    self->last_end = end;
    self->first = work->next;
    if (!self->first) self->tail = &self->first;
    self->unread--;
    /* The float's resolution stays that of a second where the device is never idle. */
    if (elapsed > ANCHOR_PERIOD_NS) {
        give_back(self, self->anchor.work);
        self->anchor.work = work;
        self->anchor.at = end;
        self->anchor.uncertainty = uncertainty;
    } else {
        give_back(self, work);
    }
}

/* Write down what the device is done with; another thread may be at it already. */
static void read_done(Launches *self) {
    if (!self->anchor.work || self->reading) return;
    self->reading = 1;
    for (int i = 0; i < MOST_READ && self->functions && self->first; i++) {
        if (!is_over(self, self->first)) break;
        read_first(self);
    }
    self->reading = 0;
}

/* The launches that have begun are over. */
static void end_work(Launches *self) {
    int64_t step = self->step, begun = self->begun, given = self->calls.clock();
    self->launching = 0;
    self->paused = 0;
    Work *work = put(self);
    if (!work) return;
    work->next = NULL;
    work->step = step;
    work->begun = begun;
    work->given = given;
    *self->tail = work;
    self->tail = &work->next;
    self->unread++;
}

/* What rested for long, or was of another step, is a piece of its own; its event comes late, and says so. */
static void resume(Launches *self) {
    int64_t rested = self->calls.clock() - self->paused;
    self->paused = 0;
    if (self->launching && (self->step != current_step || rested > SOON_NS)) end_work(self);
}

static void begin_work(Launches *self, int closeness) {
    int64_t now = self->calls.clock();
    int is_due = !self->anchor.work || now - self->anchor.looked > ANCHOR_PERIOD_NS;
    if (is_due || self->unread > MOST_UNREAD) {
        read_done(self);
        if (is_due && !self->first && self->functions) take_anchor(self); /* the device is idle */
        now = self->calls.clock();
    }
    self->launching = 1;
    self->step = current_step;
    self->begun = now;
    self->closeness = closeness;
}

/* What `find` gives, an `EventCalls` of device/eventcalls.py or None; 0 where the device is not timed. */
static int take_calls(Launches *self) {
    unsigned long long create, record, query, elapsed, clear, clock;
    PyObject *words, *functions = PyObject_CallNoArgs(self->find);
    if (functions && functions != Py_None &&
        PyArg_ParseTuple(functions, "KKKKKKOOO", &create, &record, &query, &elapsed, &clear, &clock, &self->device,
                         &self->stream, &words)) {
        self->calls = (Calls){(void *)create,  (void *)record, (void *)query,
                              (void *)elapsed, (void *)clear,  clock ? (void *)clock : clock_ns};
        self->functions = functions;
        return 1;
    }
    if (PyErr_Occurred()) PyErr_WriteUnraisable(self->find);
    Py_XDECREF(functions);
    return 0;
}

static int is_timed(Launches *self) {
    if (self->sought) return self->functions != NULL;
    self->sought = 1;
    return take_calls(self);
}

static PyObject *launches_begin(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Launches *self = (Launches *)object;
    int closeness = count > 0 && PyObject_IsTrue(args[0]) ? CLOSE : NEAR, is_dummy = self->launching && self->step < 0;
    if ((current_step < 0 && !is_dummy) || !is_timed(self)) Py_RETURN_NONE;
    if (self->paused) resume(self);
    if (!self->launching || self->step != current_step) {
        begin_work(self, closeness);
    } else if (closeness > self->closeness) {
        self->begun = self->calls.clock();
        self->closeness = closeness;
    }
    Py_RETURN_NONE;
}

static PyObject *launches_begin_dummy(PyObject *object, PyObject *ignored) {
    Launches *self = (Launches *)object;
    if (current_step >= 0 || !is_timed(self)) Py_RETURN_NONE;
    if (self->paused) resume(self);
    read_done(self); /* nothing waits for a dummy batch, so nothing else reads */
    begin_work(self, ANNOUNCED);
    Py_RETURN_NONE;
}

static PyObject *launches_pause(PyObject *object, PyObject *ignored) {
    Launches *self = (Launches *)object;
    if (self->functions) self->paused = self->calls.clock();
    Py_RETURN_NONE;
}

static PyObject *launches_end(PyObject *object, PyObject *ignored) {
    Launches *self = (Launches *)object;
    if (self->functions && self->launching) end_work(self);
    Py_RETURN_NONE;
}

static PyObject *launches_read(PyObject *object, PyObject *ignored) {
    Launches *self = (Launches *)object;
    if (self->functions) read_done(self);
    Py_RETURN_NONE;
}

static PyObject *launches_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *find, *give_up;
    unsigned short code;
    if (!PyArg_ParseTuple(args, "HOO", &code, &find, &give_up)) return NULL;
    Launches *self = (Launches *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->code = code;
    self->find = Py_NewRef(find);
    self->give_up = Py_NewRef(give_up);
    self->tail = &self->first;
    return (PyObject *)self;
}

static PyMethodDef methods[] = {
    {"begin", (PyCFunction)(void (*)(void))launches_begin, METH_FASTCALL,
     "begin(close=False): the thread's step, if it is one of the core's, or a dummy batch that has begun, launches "
     "something now; `close` where nothing is between. Inside of what has begun only the first close one counts: nothing "
     "was launched before it."},
    {"begin_dummy", launches_begin_dummy, METH_NOARGS,
     "A batch of no step begins; it launches nothing before it calls `begin`."},
    {"pause", launches_pause, METH_NOARGS,
     "More launches of this step follow, most often at once: an event between them would cost as much as one."},
    {"end", launches_end, METH_NOARGS, "The launches that `begin` announced are over."},
    {"read", launches_read, METH_NOARGS, "Write down what the device is done with; it waits for nothing."},
    {NULL}};

/* One lives as long as its process, and its events do. */
PyTypeObject LaunchesType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_recorder.Launches",
    .tp_doc = "Launches(list code, find, give_up): `find` is called once, at the first launch, and gives the "
              "functions of the device's events (device/eventcalls.py) or None; `give_up` what it gave, the name of a "
              "call that failed, and its code.",
    .tp_basicsize = sizeof(Launches),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = launches_new,
    .tp_methods = methods,
};
