/* Finds one value inside a large JSON message, and checks all syntax on the way: see large.py.
 *
 * Knows the grammar of RFC 8259 and nothing of what a message means. Accepts nothing that the decoder of codec.py would
 * refuse; what it does not accept is no error, but left to that decoder. Keeps no state and no hold of what it is given.
 *
 * Objects and lists are read in blocks of 64 bytes. Each block becomes a handful of words with one bit for each byte
 * (quotes, commas, ...), and the grammar is checked on all 64 at once: what may follow a comma is a shift and a mask.
 * Only brackets, numbers and escapes are looked at one by one. That there are few branches is what makes it fast: a
 * reader that decides byte by byte spends its time on wrong guesses of the processor. (The words of bits are from
 * Langdale and Lemire, "Parsing gigabytes of JSON per second", VLDB Journal 28, 2019; the checks on them are our own.)
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && defined(__GNUC__)
#define HAS_BLOCKS 1
#include <immintrin.h>
#else
#define HAS_BLOCKS 0
#endif

typedef unsigned char byte;

/* Containers inside each other. Deeper values are left to the decoder, which has a limit of its own. */
#define DEPTH_MAX 256

/* A bytes object ends in a NUL that is not part of it. No rule of the grammar takes one, so that it ends every loop
 * below, and nothing has to ask whether the end is reached before it looks at the next byte. */

static inline const byte *skip_space(const byte *p) {
    while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r') {
        p++;
    }
    return p;
}

static inline int is_digit(byte c) { return (byte)(c - '0') <= 9; }

static inline int is_hex(byte c) { return is_digit(c) || (byte)((c | 0x20) - 'a') <= 5; }

/* All `skip_...` below take where something begins and give where it ends, or NULL if it is not that. */

/* \uXXXX, or two of them where the first is half of a surrogate pair. */
static const byte *skip_unicode(const byte *p) {
    if (!is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]) || !is_hex(p[5])) {
        return NULL;
    }
    if ((p[2] | 0x20) != 'd' || p[3] < '8') {
        return p + 6;
    }
    byte high = p[3] | 0x20, low = 0;
    if (p[6] == '\\' && p[7] == 'u' && (p[8] | 0x20) == 'd' && is_hex(p[9]) && is_hex(p[10]) && is_hex(p[11])) {
        low = p[9] | 0x20;
    }
    int is_pair = (p[3] == '8' || p[3] == '9' || high == 'a' || high == 'b') && low >= 'c';
    return is_pair ? p + 12 : NULL;
}

static inline const byte *skip_escape(const byte *p) {
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;
    case 'u':
        return skip_unicode(p);
    default:
        return NULL;
    }
}

#if HAS_BLOCKS

static inline const byte *skip_digits(const byte *p) {
    if (!is_digit(*p)) {
        return NULL;
    }
    while (is_digit(*p)) {
        p++;
    }
    return p;
}

/* A number, true, false or null. */
static inline const byte *skip_scalar(const byte *p) {
    switch (*p) {
    case 't':
        return p[1] == 'r' && p[2] == 'u' && p[3] == 'e' ? p + 4 : NULL;
    case 'f':
        return p[1] == 'a' && p[2] == 'l' && p[3] == 's' && p[4] == 'e' ? p + 5 : NULL;
    case 'n':
        return p[1] == 'u' && p[2] == 'l' && p[3] == 'l' ? p + 4 : NULL;
    }
    p += *p == '-';
    p = *p == '0' ? p + 1 : skip_digits(p);
    if (p != NULL && *p == '.') {
        p = skip_digits(p + 1);
    }
    if (p != NULL && (*p | 0x20) == 'e') {
        p++;
        p = skip_digits(p + (*p == '+' || *p == '-'));
    }
    return p;
}

#define BLOCK_SIZE 64

/* One bit for each of 64 bytes, the first the lowest, that says whether it is such a one; not yet whether it stands in a
 * string. */
struct block {
    uint64_t quote, backslash, control, space, comma, colon, opening, closing, curly;
};

typedef void (*block_reader)(const byte *, struct block *);

/* `bytes` is some vector of the bytes from `p + i` on; MASK, EQUAL, ... are this processor's instructions for it. */
#define READ_BYTES(bytes, i)                                                                                            \
    do {                                                                                                                \
        block->quote |= MASK(EQUAL(bytes, ALL('"'))) << (i);                                                            \
        block->backslash |= MASK(EQUAL(bytes, ALL('\\'))) << (i);                                                       \
        block->control |= MASK(EQUAL(LARGER(bytes, ALL(0x1f)), ALL(0x1f))) << (i);                                      \
        block->space |= MASK(EQUAL(bytes, ALL(' '))) << (i);                                                            \
        block->comma |= MASK(EQUAL(bytes, ALL(','))) << (i);                                                            \
        block->colon |= MASK(EQUAL(bytes, ALL(':'))) << (i);                                                            \
        block->opening |= MASK(EQUAL(OR(bytes, ALL(0x20)), ALL('{'))) << (i); /* [ becomes {, and ] becomes } */        \
        block->closing |= MASK(EQUAL(OR(bytes, ALL(0x20)), ALL('}'))) << (i);                                           \
        block->curly |= MASK(LEFT_BY_2(bytes)) << (i); /* the bit that tells { from [ */                                \
    } while (0)

#define MASK(bytes) ((uint64_t)(uint32_t)_mm_movemask_epi8(bytes))
#define ALL(character) _mm_set1_epi8(character)
#define EQUAL _mm_cmpeq_epi8
#define LARGER _mm_max_epu8
#define OR _mm_or_si128
#define LEFT_BY_2(bytes) _mm_slli_epi16(bytes, 2)
static inline void read_block(const byte *p, struct block *block) {
    memset(block, 0, sizeof *block);
    for (int i = 0; i < BLOCK_SIZE; i += 16) {
        READ_BYTES(_mm_loadu_si128((const __m128i *)(p + i)), i);
    }
}
#undef MASK
#undef ALL
#undef EQUAL
#undef LARGER
#undef OR
#undef LEFT_BY_2

#define MASK(bytes) ((uint64_t)(uint32_t)_mm256_movemask_epi8(bytes))
#define ALL(character) _mm256_set1_epi8(character)
#define EQUAL _mm256_cmpeq_epi8
#define LARGER _mm256_max_epu8
#define OR _mm256_or_si256
#define LEFT_BY_2(bytes) _mm256_slli_epi16(bytes, 2)
__attribute__((target("avx2,bmi"))) static inline void read_block_avx2(const byte *p, struct block *block) {
    memset(block, 0, sizeof *block);
    for (int i = 0; i < BLOCK_SIZE; i += 32) {
        READ_BYTES(_mm256_loadu_si256((const __m256i *)(p + i)), i);
    }
}

/* Whether a block has nothing that matters inside a string. */
static inline int is_plain(const byte *p) {
    const __m128i low_max = _mm_set1_epi8(0x1f), quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    __m128i found = _mm_setzero_si128();
    for (int i = 0; i < BLOCK_SIZE; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(p + i));
        __m128i special = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        __m128i control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, low_max), low_max);
        found = _mm_or_si128(found, _mm_or_si128(special, control));
    }
    return _mm_movemask_epi8(found) == 0;
}

/* The bits from each 1 up to before the next one. */
static inline uint64_t between_pairs(uint64_t bits) {
    for (int distance = 1; distance < 64; distance *= 2) {
        bits ^= bits << distance;
    }
    return bits;
}

/* Where the first byte that is not white stands, from each of `from` on; `rest` is set to whether that is beyond this
 * block. An addition carries each bit through the white ones above it. */
static inline uint64_t past_white(uint64_t from, uint64_t white, uint64_t *rest) {
    unsigned long long sum;
    *rest = __builtin_add_overflow((unsigned long long)(from & white), (unsigned long long)white, &sum);
    return (from & ~white) | (sum & ~white);
}

/* Where what follows each of `tokens` stands; `carry` is whether the last token of the block before is one of them, and
 * becomes that for the next block. */
static inline uint64_t next_of(uint64_t tokens, uint64_t white, uint64_t *carry) {
    uint64_t rest = 0;
    uint64_t behind = tokens << 1 | *carry;
    uint64_t found = white == 0 ? behind : past_white(behind, white, &rest);
    *carry = tokens >> 63 | rest;
    return found;
}

/* What ends a number or a word. */
static const byte ENDS_SCALAR[256] = {
    [','] = 1, [':'] = 1, ['['] = 1, [']'] = 1, ['{'] = 1, ['}'] = 1, ['"'] = 1, [' '] = 1, ['\t'] = 1, ['\n'] = 1, ['\r'] = 1,
};

static inline __attribute__((always_inline)) const byte *skip_blocks(const byte *p, const byte *end, block_reader read) {
    byte is_object[DEPTH_MAX + 1]; /* of each container that is open; of no container in the first place */
    int depth = 0;
    is_object[0] = 0;
    /* What the blocks so far leave to this one, a bit each: the first byte is escaped; belongs to a string (all bits),
     * to a key, to a scalar; follows this or that. */
    uint64_t is_escaped = 0, was_string = 0, was_key = 0, was_scalar = 0;
    uint64_t follows_value = 0, follows_scalar = 0, follows_list = 0, follows_object = 0, follows_comma = 0;
    uint64_t follows_objects_comma = 0, follows_key = 0;
    const byte *escapes_end = p; /* of the escapes that were looked at */
    byte padded[BLOCK_SIZE];
    for (;; p += BLOCK_SIZE) {
        while (was_string && !is_escaped && end - p >= BLOCK_SIZE && is_plain(p)) {
            p += BLOCK_SIZE;
        }
        struct block block;
        if (end - p >= BLOCK_SIZE) {
            read(p, &block);
        } else if (end > p) {
            memset(padded, ' ', BLOCK_SIZE);
            memcpy(padded, p, (size_t)(end - p));
            read(padded, &block);
        } else {
            return NULL;
        }

        uint64_t escaped = is_escaped;
        uint64_t backslash = block.backslash & ~is_escaped;
        is_escaped = 0;
        while (backslash) {
            int at = __builtin_ctzll(backslash);
            if (p + at >= escapes_end && (escapes_end = skip_escape(p + at)) == NULL) {
                return NULL;
            }
            escaped |= at == 63 ? 0 : 2ULL << at;
            is_escaped = at == 63;
            backslash &= ~(3ULL << at);
        }

        uint64_t quote = block.quote & ~escaped;
        uint64_t string = between_pairs(quote) ^ was_string; /* with its first quote, without its last one */
        was_string = (uint64_t)((int64_t)string >> 63);
        uint64_t outside = ~(string | quote);
        uint64_t string_start = quote & string, string_end = quote & ~string;
        uint64_t wrong = string & block.control;

        uint64_t white = block.space & outside;
        if (block.control & outside) {
            for (uint64_t left = block.control & outside; left; left &= left - 1) {
                byte c = p[__builtin_ctzll(left)];
                white |= c == '\n' || c == '\r' || c == '\t' ? left & -left : 0;
            }
        }
        uint64_t comma = block.comma & outside, colon = block.colon & outside;
        uint64_t opening = block.opening & outside, closing = block.closing & outside;
        uint64_t scalar = outside & ~(white | comma | colon | opening | closing);
        uint64_t scalar_start = scalar & ~(scalar << 1 | was_scalar);

        uint64_t kept = ~0ULL; /* all up to the end of the container */
        uint64_t in_object = is_object[depth] ? ~0ULL : 0;
        for (uint64_t left = opening | closing; left; left &= left - 1) {
            int at = __builtin_ctzll(left);
            byte is_curly = block.curly >> at & 1;
            byte was_object = is_object[depth];
            if (opening >> at & 1) {
                if (depth == DEPTH_MAX) {
                    return NULL;
                }
                is_object[++depth] = is_curly;
            } else {
                if (is_curly != was_object) {
                    return NULL;
                }
                depth--;
            }
            if (depth == 0) {
                kept = at == 63 ? ~0ULL : (2ULL << at) - 1;
                break;
            }
            in_object ^= was_object != is_object[depth] ? ~0ULL << at : 0;
        }

        uint64_t value_start = string_start | opening | scalar_start;
        uint64_t objects_comma = comma & in_object;
        uint64_t rest;
        uint64_t behind_scalar = (scalar << 1 | was_scalar) & ~scalar;
        uint64_t after_scalar = past_white(behind_scalar | follows_scalar, white, &rest);
        follows_scalar = rest;
        was_scalar = scalar >> 63;
        uint64_t after_value = after_scalar | next_of(string_end | closing, white, &follows_value);
        wrong |= after_value & ~(comma | colon | closing);
        wrong |= next_of(comma | colon, white, &follows_comma) & ~value_start;
        wrong |= next_of(opening & ~block.curly, white, &follows_list) & ~(value_start | (closing & ~block.curly));
        uint64_t after_object = next_of(opening & block.curly, white, &follows_object);
        uint64_t after_objects_comma = next_of(objects_comma, white, &follows_objects_comma);
        wrong |= after_object & ~(string_start | (closing & block.curly));
        wrong |= after_objects_comma & ~string_start;
        uint64_t key_start = (after_object | after_objects_comma) & string_start;
        unsigned long long carried; /* each bit of a key's start, through its string to the quote behind */
        was_key = __builtin_add_overflow((unsigned long long)(key_start | was_key), (unsigned long long)string, &carried);
        uint64_t key_end = carried & ~string;
        wrong |= next_of(key_end, white, &follows_key) ^ colon;
        if (wrong & kept) {
            return NULL;
        }
        for (uint64_t left = scalar_start & kept; left; left &= left - 1) {
            const byte *behind = skip_scalar(p + __builtin_ctzll(left));
            if (behind == NULL || !ENDS_SCALAR[*behind]) {
                return NULL;
            }
        }
        if (depth == 0) {
            return p + (64 - __builtin_clzll(kept));
        }
    }
}

static const byte *skip_container_anywhere(const byte *p, const byte *end) { return skip_blocks(p, end, read_block); }

__attribute__((target("avx2,bmi"))) static const byte *skip_container_avx2(const byte *p, const byte *end) {
    return skip_blocks(p, end, read_block_avx2);
}

/* What takes an object or a list that begins before the end of the message. */
typedef const byte *(*container_skipper)(const byte *, const byte *);

static container_skipper best_skipper(void) {
    int is_recent = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");
    return is_recent ? skip_container_avx2 : skip_container_anywhere;
}

/* From the first quote of a string. */
static const byte *skip_string(const byte *p) {
    p++;
    for (;;) {
        while (*p >= ' ' && *p != '"' && *p != '\\') {
            p++;
        }
        if (*p == '"') {
            return p + 1;
        }
        if (*p != '\\' || (p = skip_escape(p)) == NULL) {
            return NULL;
        }
    }
}

static const byte *skip_value(const byte *p, const byte *end, container_skipper skip_container) {
    switch (*p) {
    case '{':
    case '[':
        return skip_container(p, end);
    case '"':
        return skip_string(p);
    default:
        return skip_scalar(p);
    }
}

struct span {
    const byte *start;
    const byte *end;
};

/* The object at `p`, in which the value behind the keys `path` is looked for. A message that has it twice, or that writes
 * a key of its envelope with escapes, is not taken. */
static const byte *skip_envelope(const byte *p, const byte *end, container_skipper skip_container,
                                 PyObject *const *path, Py_ssize_t path_size, struct span *found) {
    const byte *wanted = (const byte *)PyBytes_AS_STRING(path[0]);
    size_t wanted_size = (size_t)PyBytes_GET_SIZE(path[0]);
    int is_seen = 0;
    if (*p != '{') {
        return NULL;
    }
    do {
        const byte *key = skip_space(p + 1);
        if (*key != '"' || (p = skip_string(key)) == NULL) {
            return NULL;
        }
        size_t key_size = (size_t)(p - key) - 2;
        if (memchr(key, '\\', key_size) != NULL) {
            return NULL;
        }
        int is_wanted = key_size == wanted_size && memcmp(key + 1, wanted, key_size) == 0;
        p = skip_space(p);
        if (*p != ':' || (is_wanted && is_seen)) {
            return NULL;
        }
        p = skip_space(p + 1);
        if (!is_wanted) {
            p = skip_value(p, end, skip_container);
        } else if (path_size > 1) {
            p = skip_envelope(p, end, skip_container, path + 1, path_size - 1, found);
        } else {
            found->start = p;
            p = found->end = skip_value(p, end, skip_container);
        }
        is_seen |= is_wanted;
        if (p == NULL) {
            return NULL;
        }
        p = skip_space(p);
    } while (*p == ',');
    return *p == '}' ? p + 1 : NULL;
}
#endif

static PyObject *find(PyObject *const *args, Py_ssize_t count, int is_best) {
    if (count != 2 || !PyBytes_CheckExact(args[0]) || !PyTuple_CheckExact(args[1]) || PyTuple_GET_SIZE(args[1]) == 0) {
        PyErr_SetString(PyExc_TypeError, "find_value takes bytes, and a tuple of one key or more");
        return NULL;
    }
    Py_ssize_t path_size = PyTuple_GET_SIZE(args[1]);
    PyObject *const *path = &PyTuple_GET_ITEM(args[1], 0);
    for (Py_ssize_t i = 0; i < path_size; i++) {
        if (!PyBytes_CheckExact(path[i])) {
            PyErr_SetString(PyExc_TypeError, "find_value takes keys that are bytes");
            return NULL;
        }
    }
#if HAS_BLOCKS
    container_skipper skip_container = is_best ? best_skipper() : skip_container_anywhere;
    const byte *start = (const byte *)PyBytes_AS_STRING(args[0]);
    const byte *end = start + PyBytes_GET_SIZE(args[0]);
    struct span found = {NULL, NULL};
    const byte *p = skip_envelope(skip_space(start), end, skip_container, path, path_size, &found);
    if (p != NULL && found.start != NULL && skip_space(p) == end) {
        return Py_BuildValue("nn", found.start - start, found.end - start);
    }
#endif
    Py_RETURN_NONE;
}

PyDoc_STRVAR(find_value_doc, "find_value(message, path)\n--\n\nSee _json.pyi.");

static PyObject *find_value(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    return find(args, count, 1);
}

PyDoc_STRVAR(find_value_anywhere_doc, "find_value_anywhere(message, path)\n--\n\nSee _json.pyi.");

static PyObject *find_value_anywhere(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    return find(args, count, 0);
}

static PyMethodDef methods[] = {
    {"find_value", (PyCFunction)(void (*)(void))find_value, METH_FASTCALL, find_value_doc},
    {"find_value_anywhere", (PyCFunction)(void (*)(void))find_value_anywhere, METH_FASTCALL, find_value_anywhere_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "taskferry.protocol._json",
    .m_doc = "Finds one value inside a large JSON message.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__json(void) { return PyModuleDef_Init(&definition); }
