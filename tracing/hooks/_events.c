/* The records and the texts of one process, each in a mapped file (layout: tracing/events/layout.py).
 *
 * A record's `kind` is written last: a reader takes it for whole only then. The header counts records when their slots
 * are taken, so that one which is missing below that count was cut by the process's death.
 */
#include "_events.h"
#include <errno.h>
#include <string.h>

enum { RECORD_BYTES = 48, PAYLOAD_BYTES = 44, TEXT_HEAD_BYTES = 8 };
#define EVENTS_CHUNK (RECORD_BYTES << 16) /* 3 MiB */
#define TEXTS_CHUNK (1 << 18)
#define MOST_TEXTS (1LL << 32)

typedef struct {
    char magic[8];
    int64_t schema, pid, written, dropped, ring;
} Header;

typedef struct {
    uint32_t number, length;
    char bytes[];
} Text;

static const uint8_t never;

Mapped events = {.fd = -1};
const volatile uint8_t *paused = &never;
__thread uint32_t thread_id;
__thread int64_t current_step = -1;

static Mapped texts = {.fd = -1};
static PyObject *numbers; /* text -> its number */

static Header *header(void) { return (Header *)events.base; }

static Record *take(int64_t count) {
    if (!writing()) return NULL;
    Record *first = mapped_take(&events, count * RECORD_BYTES);
    if (first)
        header()->written += count;
    else
        header()->dropped++;
    return first;
}

static inline void publish(Record *record, uint16_t kind) {
    __atomic_store_n(&record->kind, kind, __ATOMIC_RELEASE);
}

void write_span(uint16_t site, uint16_t kind, int64_t start, int64_t end, uint32_t request, int64_t step,
                int64_t value, uint32_t extra) {
    Record *r = take(1);
    if (!r) return;
    r->start = start;
    r->end = end;
    r->step = step;
    r->value = value;
    r->thread = thread();
    r->request = request;
    r->extra = extra;
    r->site = site;
    publish(r, kind);
}

void write_list(uint16_t code, int64_t key, int64_t step, const uint32_t *words, int64_t count) {
    int64_t bytes = count * 4;
    Record *r = take(1 + (bytes + PAYLOAD_BYTES - 1) / PAYLOAD_BYTES);
    if (!r) return;
    *r = (Record){.start = clock_ns(), .end = key, .step = step, .value = count, .thread = thread(), .site = code};
    for (Record *more = r + 1; bytes > 0; bytes -= PAYLOAD_BYTES, words += PAYLOAD_BYTES / 4, more++) {
        memcpy(more, words, bytes < PAYLOAD_BYTES ? bytes : PAYLOAD_BYTES);
        publish(more, MORE);
    }
    publish(r, LIST);
}

static int write_text(uint32_t number, const char *bytes, Py_ssize_t length) {
    Text *text = writing() ? mapped_take(&texts, TEXT_HEAD_BYTES + (length + 7) / 8 * 8) : NULL;
    if (!text) return 0;
    text->length = (uint32_t)length;
    memcpy(text->bytes, bytes, length);
    __atomic_store_n(&text->number, number, __ATOMIC_RELEASE);
    return 1;
}

uint32_t text_number(PyObject *text) {
    if (!text || !PyUnicode_Check(text) || !numbers) return 0;
    PyObject *known = PyDict_GetItemWithError(numbers, text);
    if (known) return (uint32_t)PyLong_AsUnsignedLong(known);
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    uint32_t number = (uint32_t)PyDict_GET_SIZE(numbers) + 1;
    if (!bytes || !write_text(number, bytes, length)) {
        if (bytes && writing()) header()->dropped++;
        PyErr_Clear();
        return 0;
    }
    PyObject *boxed = PyLong_FromUnsignedLong(number);
    if (!boxed || PyDict_SetItem(numbers, text, boxed) < 0) PyErr_Clear();
    Py_XDECREF(boxed);
    return number;
}

int64_t whole(PyObject *value) {
    if (PyLong_Check(value)) {
        int64_t number = PyLong_AsLongLong(value);
        if (number == -1 && PyErr_Occurred()) PyErr_Clear();
        return number;
    }
    return text_number(value);
}

static int open_texts(const char *path) {
    size_t stem = strlen(path);
    const char *end = strrchr(path, '.');
    if (end) stem = (size_t)(end - path);
    char *beside = PyMem_Malloc(stem + sizeof ".texts");
    if (!beside) return ENOMEM;
    memcpy(beside, path, stem);
    memcpy(beside + stem, ".texts", sizeof ".texts");
    int failure = mapped_open(&texts, beside, MOST_TEXTS, TEXTS_CHUNK);
    PyMem_Free(beside);
    return failure;
}

int events_open(const char *path, int64_t schema, int64_t most) {
    int failure = mapped_open(&events, path, (most + 1) * RECORD_BYTES, EVENTS_CHUNK);
    if (!failure) failure = open_texts(path);
    if (failure) {
        events_close(1);
        return failure;
    }
    numbers = PyDict_New();
    Header *head = mapped_take(&events, RECORD_BYTES);
    *head = (Header){.schema = schema, .pid = getpid()};
    memcpy(head->magic, "ESEVENT1", 8);
    memcpy(mapped_take(&texts, 8), "ESTEXTS1", 8);
    return events_extend();
}

int events_extend(void) {
    int failure = mapped_extend(&events);
    return failure ? failure : mapped_extend(&texts);
}

void events_close(int ours) {
    mapped_close(&events, ours);
    mapped_close(&texts, ours);
    Py_CLEAR(numbers);
}

int64_t events_written(void) { return events.base ? header()->written : 0; }

int64_t events_dropped(void) { return events.base ? header()->dropped : 0; }
