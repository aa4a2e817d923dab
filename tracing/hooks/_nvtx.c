/* The recorder's spans as NVTX ranges, and as marks what a range cannot know (what they say: tracing/ranges.py).
 *
 * NVTX is a C header; for those who do not compile it in, NVIDIA has the same functions as a library, whose structure of
 * attributes is declared here. A range about no request has its site's registered string: tools take that in half the
 * time of a text.
 */
#include "_nvtx.h"

#include <dlfcn.h>
#include <string.h>

enum { VERSION = 3, COLOR_ARGB = 1, PAYLOAD_INT64 = 2, MESSAGE_ASCII = 1, MESSAGE_REGISTERED = 3 };
enum { TEXT_BYTES = 4096 }; /* a longer mark is not made, and a request whose id is longer is not named */

typedef struct {
    uint16_t version, size;
    uint32_t category;
    int32_t color_type;
    uint32_t color;
    int32_t payload_type, reserved;
    int64_t payload;
    int32_t message_type;
    const void *message;
} Attributes;

typedef struct {
    const char *name; /* NULL: this site has neither ranges nor marks */
    uint32_t color;
    const void *registered;
} Named;

int nvtx_on = 0;

static struct {
    void *domain;
    int (*push)(void *, const Attributes *);
    int (*pop)(void *);
    uint64_t (*start)(void *, const Attributes *);
    void (*end)(void *, uint64_t);
    void (*mark)(void *, const Attributes *);
    Named *sites;
    Py_ssize_t count;
    PyObject *names; /* what the sites' names point into */
} nvtx;

typedef struct {
    Py_ssize_t length; /* TEXT_BYTES and more where it did not fit */
    char text[TEXT_BYTES];
} Text;

static void put_bytes(Text *text, const char *bytes, Py_ssize_t length) {
    if (text->length + length < TEXT_BYTES) memcpy(text->text + text->length, bytes, length + 1);
    text->length += text->length < TEXT_BYTES ? length : 0;
}

static void put(Text *text, const char *words) { put_bytes(text, words, strlen(words)); }

static void put_number(Text *text, int64_t number) {
    char digits[24], *at = digits + sizeof digits - 1;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    *at = 0;
    do *--at = '0' + rest % 10;
    while (rest /= 10);
    if (number < 0) *--at = '-';
    put_bytes(text, at, digits + sizeof digits - 1 - at);
}

/* An item as Python would write it down; NULL is `otherwise`. */
static void put_item(Text *text, PyObject *item, const char *otherwise) {
    if (!item) {
        put(text, otherwise);
        return;
    }
    if (PyLong_Check(item)) {
        put_number(text, PyLong_AsLongLong(item));
    } else {
        PyObject *said = PyObject_Repr(item);
        const char *bytes = said ? PyUnicode_AsUTF8(said) : NULL;
        put(text, bytes ? bytes : otherwise);
        Py_XDECREF(said);
    }
    if (PyErr_Occurred()) PyErr_Clear();
}

static const Named *named(int site) { return site < nvtx.count && nvtx.sites[site].name ? &nvtx.sites[site] : NULL; }

static Attributes attributes(uint32_t color, int64_t payload, int type, const void *message) {
    return (Attributes){VERSION, sizeof(Attributes), 0, COLOR_ARGB, color, PAYLOAD_INT64, 0, payload, type, message};
}

/* The attributes of a site's range; `text` holds its message where it names a request. */
static Attributes of_range(const Named *site, PyObject *request, int64_t step, Text *text) {
    const char *id = request && PyUnicode_Check(request) ? PyUnicode_AsUTF8(request) : NULL;
    text->length = 0;
    if (id) {
        put(text, site->name);
        put(text, " ");
        put(text, id);
    } else if (request) {
        PyErr_Clear();
    }
    if (id && text->length < TEXT_BYTES) return attributes(site->color, step, MESSAGE_ASCII, text->text);
    return attributes(site->color, step, MESSAGE_REGISTERED, site->registered);
}

/* A site that is not named gets a range all the same, of no message: every push needs its pop. */
static const Named nobody = {"", 0, NULL};

void nvtx_push(uint16_t site, PyObject *request, int64_t step) {
    Text text;
    const Named *known = named(site);
    Attributes made = of_range(known ? known : &nobody, known ? request : NULL, step, &text);
    nvtx.push(nvtx.domain, &made);
}

void nvtx_pop(void) { nvtx.pop(nvtx.domain); }

uint64_t nvtx_start(uint16_t site, PyObject *request, int64_t step) {
    Text text;
    const Named *known = named(site);
    Attributes made = of_range(known ? known : &nobody, known ? request : NULL, step, &text);
    return nvtx.start(nvtx.domain, &made);
}

void nvtx_end(uint64_t range) { nvtx.end(nvtx.domain, range); }

void nvtx_mark(const char *text, int64_t payload) {
    Attributes made = attributes(0, payload, MESSAGE_ASCII, text);
    nvtx.mark(nvtx.domain, &made);
}

static void mark(Text *text, int64_t payload) {
    put(text, "]");
    if (text->length < TEXT_BYTES) nvtx_mark(text->text, payload);
}

void nvtx_told(uint16_t site, int instant, PyObject *value, PyObject *extra, PyObject *request, int raised, int64_t step) {
    const Named *known = named(site);
    if (!known) return;
    Text text;
    text.length = 0;
    put(&text, instant ? "['instant', '" : "['told', '");
    put(&text, known->name);
    put(&text, "', ");
    put_item(&text, value, "0");
    put(&text, ", ");
    put_item(&text, extra, "0");
    put(&text, ", ");
    put_item(&text, request == Py_None ? NULL : request, "None");
    put(&text, raised ? ", 1" : ", 0");
    mark(&text, step);
}

static void begin_list(Text *text, int code, int64_t key) {
    text->length = 0;
    put(text, "['list', ");
    put_number(text, code);
    put(text, ", ");
    put_number(text, key);
}

void nvtx_words(int code, int64_t key, const uint32_t *words, Py_ssize_t count, int64_t step) {
    Text text;
    begin_list(&text, code, key);
    for (Py_ssize_t i = 0; i < count; i++) {
        put(&text, ", ");
        put_number(&text, words[i]);
    }
    mark(&text, step);
}

void nvtx_list(int code, int64_t key, PyObject *const *items, Py_ssize_t count, int64_t step) {
    Text text;
    begin_list(&text, code, key);
    for (Py_ssize_t i = 0; i < count; i++) {
        put(&text, ", ");
        put_item(&text, items[i], "0");
    }
    mark(&text, step);
}

/* --- the library --- */

static int found(void *library, const char *name, void *into) {
    *(void **)into = dlsym(library, name);
    if (!*(void **)into) PyErr_Format(PyExc_OSError, "NVIDIA's NVTX library has no %s", name);
    return *(void **)into != NULL;
}

/* `names` are pairs of a site's name, or None, and its colour. */
static int name_sites(PyObject *names, void *(*registered)(void *, const char *)) {
    Py_ssize_t count = PyList_GET_SIZE(names);
    nvtx.sites = PyMem_Calloc(count + 1, sizeof(Named));
    if (!nvtx.sites) return PyErr_NoMemory() != NULL;
    nvtx.names = Py_NewRef(names);
    nvtx.count = count;
    for (Py_ssize_t i = 0; i < count; i++) {
        Named *site = &nvtx.sites[i];
        if (!PyArg_ParseTuple(PyList_GET_ITEM(names, i), "zI", &site->name, &site->color)) return 0;
        if (site->name) site->registered = registered(nvtx.domain, site->name);
    }
    return 1;
}

PyObject *nvtx_begin(PyObject *self, PyObject *args) {
    const char *path, *domain;
    PyObject *names;
    void *(*created)(const char *), *(*registered)(void *, const char *);
    if (!PyArg_ParseTuple(args, "ssO!", &path, &domain, &PyList_Type, &names)) return NULL;
    if (nvtx_on) Py_RETURN_NONE;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return PyErr_Format(PyExc_OSError, "NVIDIA's NVTX library cannot be loaded: %s", dlerror());
    if (!found(library, "nvtxDomainCreateA", &created) || !found(library, "nvtxDomainRegisterStringA", &registered) ||
        !found(library, "nvtxDomainRangePushEx", &nvtx.push) || !found(library, "nvtxDomainRangePop", &nvtx.pop) ||
        !found(library, "nvtxDomainRangeStartEx", &nvtx.start) || !found(library, "nvtxDomainRangeEnd", &nvtx.end) ||
        !found(library, "nvtxDomainMarkEx", &nvtx.mark))
        return NULL;
    nvtx.domain = created(domain);
    if (!name_sites(names, registered)) return NULL;
    nvtx_on = 1;
    Py_RETURN_NONE;
}
