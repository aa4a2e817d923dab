/* The records and the texts of one process, each in a mapped file (layout: tracing/events/layout.py).
 *
 * A record's `kind` is written last: a reader takes it for whole only then. The header counts records when their slots
 * are taken, so that one which is missing below that count was cut by the process's death. In a ring the count is
 * visible before a slot is overwritten, so that a reader who looks at it after a copy knows which slots not to believe.
 */
#include "_events.h"
#include <errno.h>
#include <string.h>

enum { RECORD_BYTES = 48, PAYLOAD_BYTES = 44, TEXT_HEAD_BYTES = 8 };
#define EVENTS_CHUNK (RECORD_BYTES << 16) /* 3 MiB */
#define TEXTS_CHUNK (1 << 18)
#define MOST_TEXTS (1LL << 32)
#define TEXTS_PER_CHUNK (2 * TEXTS_CHUNK) /* of each half: a quarter of the ring, and a request's texts take less */

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
__thread int64_t last_length;
uint8_t calls_of_site[SITES];

static Mapped texts = {.fd = -1};
static PyObject *numbers; /* text -> its number */
static PyObject *older;   /* the same of the texts' older half */
static uint32_t text_count;
static int64_t ring; /* its slots; 0: the file is no ring */
static int64_t half;      /* bytes of each half of the texts beside a ring */
static int64_t forgotten; /* how many records there were when older texts were last forgotten */

static Header *header(void) { return (Header *)events.base; }

static Record *slot(int64_t number) { return (Record *)events.base + 1 + (ring ? number % ring : number); }

/* The sequence number of the first of `count` records, or -1 where there is no room. */
static int64_t take(int64_t count) {
    if (!writing()) return -1;
    int64_t first = header()->written, end = (first + count + 1) * RECORD_BYTES;
    if (ring && first + count > ring) end = count > ring ? INT64_MAX : (ring + 1) * RECORD_BYTES;
    if (end > events.allocated) {
        header()->dropped++;
        return -1;
    }
    if (end > events.used) events.used = end;
    __atomic_store_n(&header()->written, first + count, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return first;
}

static inline void publish(int64_t number, uint16_t kind) {
    uint16_t lap = ring ? (uint16_t)(number / ring & 0xFF) : 0;
    __atomic_store_n(&slot(number)->kind, (uint16_t)(kind | lap << 8), __ATOMIC_RELEASE);
}

void write_span(uint16_t site, uint16_t kind, int64_t start, int64_t end, uint32_t request, int64_t step,
                int64_t value, uint32_t extra) {
    last_length = end - start;
    int64_t number = take(1);
    if (number < 0) return;
    Record *r = slot(number);
    r->start = start;
    r->end = end;
    r->step = step;
    r->value = value;
    r->thread = thread();
    r->request = request;
    r->extra = extra;
    r->site = site;
    publish(number, kind);
}

void write_list(uint16_t code, int64_t key, int64_t step, const uint32_t *words, int64_t count) {
    int64_t bytes = count * 4;
    int64_t head = take(1 + (bytes + PAYLOAD_BYTES - 1) / PAYLOAD_BYTES);
    if (head < 0) return;
    Record *r = slot(head);
    r->start = clock_ns();
    r->end = key;
    r->step = step;
    r->value = count;
    r->thread = thread();
    r->request = r->extra = 0;
    r->site = code;
    for (int64_t more = head + 1; bytes > 0; bytes -= PAYLOAD_BYTES, words += PAYLOAD_BYTES / 4, more++) {
        memcpy(slot(more), words, bytes < PAYLOAD_BYTES ? bytes : PAYLOAD_BYTES);
        publish(more, MORE);
    }
    publish(head, LIST);
}

void write_cost(uint16_t site, int64_t from) {
    int64_t ns = clock_ns() - from - last_length;
    uint32_t words[] = {site, ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX};
    if (ns > 0) write_list(COST, 0, current_step, words, 2);
}

/* Texts beside a ring are known for as long as a record may name them: those that were not met since the last time are
 * forgotten, and one that is met again is written again, under the number that it had. 0 where there is no memory. */
static int forget_older(void) {
    PyObject *next = PyDict_New();
    if (!next) return 0;
    Py_XSETREF(older, numbers);
    numbers = next;
    forgotten = header()->written;
    return 1;
}

/* They have two halves, and the older one is overwritten when the newer is full. 0 where there is no room. */
static int turn_texts(void) {
    int64_t begin = texts.used > half ? 0 : half;
    if (begin + 8 + TEXT_HEAD_BYTES > texts.allocated || !forget_older()) return 0;
    texts.used = begin;
    memcpy(texts.base + texts.used, "ESTEXTS1", 8);
    memset(texts.base + texts.used + 8, 0, TEXT_HEAD_BYTES);
    texts.used += 8;
    return 1;
}

static Text *take_text(int64_t bytes) {
    if (!half) return mapped_take(&texts, bytes);
    int64_t end = texts.used > half ? 2 * half : half, room = bytes + TEXT_HEAD_BYTES;
    if (texts.used + room > end && (room + 8 > half || !turn_texts())) return NULL;
    if (texts.used + room > texts.allocated) return NULL;
    Text *text = mapped_take(&texts, bytes);
    memset((char *)text + bytes, 0, TEXT_HEAD_BYTES); /* here the half ends for now */
    return text;
}

static int write_text(uint32_t number, const char *bytes, Py_ssize_t length) {
    Text *text = writing() ? take_text(TEXT_HEAD_BYTES + (length + 7) / 8 * 8) : NULL;
    if (!text) return 0;
    text->length = (uint32_t)length;
    memcpy(text->bytes, bytes, length);
    __atomic_store_n(&text->number, number, __ATOMIC_RELEASE);
    return 1;
}

static uint32_t known_number(PyObject *known, PyObject *text) {
    PyObject *number = known ? PyDict_GetItemWithError(known, text) : NULL;
    return number ? (uint32_t)PyLong_AsUnsignedLong(number) : 0;
}

uint32_t text_number(PyObject *text) {
    if (!text || !PyUnicode_Check(text) || !numbers) return 0;
    if (ring && header()->written - forgotten >= ring && !forget_older()) PyErr_Clear(); /* once round */
    uint32_t number = known_number(numbers, text);
    if (number) return number;
    uint32_t before = known_number(older, text);
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    number = before ? before : text_count + 1;
    if (!bytes || !write_text(number, bytes, length)) {
        if (bytes && writing()) header()->dropped++;
        PyErr_Clear();
        return 0;
    }
    if (!before) text_count++;
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
    int failure = mapped_open(&texts, beside, half ? 2 * half : MOST_TEXTS, TEXTS_CHUNK);
    PyMem_Free(beside);
    return failure;
}

int events_open(const char *path, int64_t schema, int64_t most, int64_t ring_bytes) {
    int64_t chunks = (ring_bytes + EVENTS_CHUNK - 1) / EVENTS_CHUNK; /* the file of a ring is made of whole ones */
    ring = chunks ? chunks * (EVENTS_CHUNK / RECORD_BYTES) - 1 : 0;
    half = chunks * TEXTS_PER_CHUNK;
    int failure = mapped_open(&events, path, ((chunks ? ring : most) + 1) * RECORD_BYTES, EVENTS_CHUNK);
    if (!failure) failure = open_texts(path);
    if (failure) {
        events_close(1);
        return failure;
    }
    numbers = PyDict_New();
    Header *head = mapped_take(&events, RECORD_BYTES);
    *head = (Header){.schema = schema, .pid = getpid(), .ring = ring};
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
    if (half) texts.used = texts.allocated;
    mapped_close(&texts, ours);
    Py_CLEAR(numbers);
    Py_CLEAR(older);
    text_count = 0;
    forgotten = 0;
}

int64_t events_written(void) { return events.base ? header()->written : 0; }

int64_t events_dropped(void) { return events.base ? header()->dropped : 0; }
