/* What both ways from one encoding to the other need: what is written, the containers that are open, and their keys.
 *
 * Makes no object of Python for a part of a value, which is what takes time. What is refused is refused here, with the
 * exceptions and texts of the way by parts (transcode.py). Only what is not valid at all is left to that: no client can
 * send it, because its message would not have been decoded. Keeps no state and no hold of what it is given.
 *
 * An object that has a key twice is written as it is, and put in order when all is written: see `is_put_together`.
 */

#ifndef TASKFERRY_CARRYING_H
#define TASKFERRY_CARRYING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef unsigned char byte;

/* Containers inside each other; an empty one does not count. As many as msgpack takes, and more than PROTOCOL.md
 * says. */
#define DEPTH_MAX 1024
/* Of a value. What becomes of it, at most six times as long, is counted in 32 bits. */
#define SIZE_BYTES_MAX (1 << 28)
/* Keys that are compared with each other, before it pays to make a table of them. */
#define KEYS_COMPARED_MAX 8
/* Up to this size Python gives memory fast. */
#define SMALL_SIZE_BYTES 512
/* Of an object with a key twice that is put in order where it ends: so short that many inside each other cost little. */
#define IN_ORDER_SIZE_BYTES_MAX 256
/* Of the head of a list, a map or a text in MessagePack. */
#define LENGTH_SIZE_MAX 5

/* A key of an object that is open, as it was written, and how many marks there were before it. */
struct key {
    uint32_t start, size, mark;
};

/* A container that is open. */
struct open {
    uint32_t count; /* of its values: yet to come in MessagePack, seen in JSON */
    uint32_t mark, keys_count_before;
    byte is_object;
};

/* The kinds of marks; from REFUSED on they are those of values that are refused, if no later one takes their place. */
enum { LIST_MARK, OBJECT_MARK, REFUSED };

/* A place in what is written: the head of a container belongs there, which says how many values there are, or a value
 * that the other encoding cannot hold. In the order of places. */
struct mark {
    uint32_t at, count;
    uint32_t twice; /* from 1: the number of the object among those that have a key twice */
    uint32_t kind;
};

/* An object that has a key twice: where it ends, and its entries, of which each key has one. */
struct twice {
    uint32_t end, mark_end, entry, entries_count;
};

/* A key and its value, with all marks inside. */
struct entry {
    uint32_t start, end, mark, mark_end;
};

/* What grows: `count` are used of the `room` elements at `start`. */
#define LIST(type) struct { type *start; size_t count, room; }

struct carrying {
    LIST(byte) out;
    LIST(struct key) keys;
    LIST(struct mark) marks;
    LIST(uint32_t) table;
    LIST(uint32_t) places; /* of the keys of an object: which of its entries each belongs to */
    LIST(struct entry) entries;
    LIST(struct twice) twice;
    size_t refused_count;
    int depth;
    struct open open[DEPTH_MAX]; /* the last, because it is left as it is at the start */
};

static int grow(void **start, size_t *room, size_t needed, size_t size) {
    size_t larger = 2 * needed * size < SMALL_SIZE_BYTES ? SMALL_SIZE_BYTES / size : 2 * needed;
    void *moved = PyMem_Realloc(*start, larger * size);
    if (moved == NULL) {
        return 0;
    }
    *start = moved;
    *room = larger;
    return 1;
}

/* Whether there is room for `more` elements. Without memory, as with all that cannot be taken, the answer is no. */
#define HAS_ROOM(list, more)                                                                                            \
    ((list).room - (list).count >= (size_t)(more) ||                                                                    \
     grow((void **)&(list).start, &(list).room, (list).count + (size_t)(more), sizeof *(list).start))

/* These take what there is room for. */
static inline void put(struct carrying *to, byte c) { to->out.start[to->out.count++] = c; }

static inline void put_bytes(struct carrying *to, const void *bytes, size_t size) {
    memcpy(to->out.start + to->out.count, bytes, size);
    to->out.count += size;
}

static int is_utf_8(const byte *p, const byte *end) {
    while (p < end) {
        byte first = *p, low = 0x80, high = 0xbf;
        if (first < 0x80) {
            p++;
            continue;
        }
        int rest = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        if (first < 0xc2 || first > 0xf4 || end - p <= rest) {
            return 0;
        }
        low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low; /* or it could be written shorter */
        high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high; /* or it were half a surrogate pair, or no letter */
        if (p[1] < low || p[1] > high) {
            return 0;
        }
        for (int i = 2; i <= rest; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return 0;
            }
        }
        p += rest + 1;
    }
    return 1;
}

static int is_open(struct carrying *to, byte is_object, uint32_t count) {
    if (to->depth == DEPTH_MAX) {
        PyErr_SetString(PyExc_RecursionError, "nested too deeply");
        return 0;
    }
    to->open[to->depth++] = (struct open){count, (uint32_t)to->marks.count, (uint32_t)to->keys.count, is_object};
    return 1;
}

/* Notes as a key what was written from `start` on. */
static int is_noted(struct carrying *to, size_t start) {
    if (!HAS_ROOM(to->keys, 1)) {
        return 0;
    }
    uint32_t size = (uint32_t)(to->out.count - start);
    to->keys.start[to->keys.count++] = (struct key){(uint32_t)start, size, (uint32_t)to->marks.count};
    return 1;
}

/* Marks what comes next. */
static int is_marked(struct carrying *to, uint32_t kind) {
    if (!HAS_ROOM(to->marks, 1)) {
        return 0;
    }
    to->marks.start[to->marks.count++] = (struct mark){(uint32_t)to->out.count, 0, 0, kind};
    to->refused_count += kind >= REFUSED;
    return 1;
}

static inline int is_same(struct carrying *to, struct key one, struct key other) {
    return one.size == other.size && memcmp(to->out.start + one.start, to->out.start + other.start, one.size) == 0;
}

/* With a secret of this process: or a client could choose keys that all fall on one place. */
static size_t hash_of(const byte *p, size_t size) {
#if PY_VERSION_HEX >= 0x030e0000
    return (size_t)Py_HashBuffer(p, (Py_ssize_t)size);
#else
    return (size_t)PyHash_GetFuncDef()->hash(p, (Py_ssize_t)size);
#endif
}

/* Sets `places` for the keys of a large object by a table of them. Gives the number of entries; 0 without memory. */
static size_t entries_by_table(struct carrying *to, const struct key *keys, size_t count) {
    size_t room = 32, entries_count = 0;
    while (room < 2 * count) {
        room *= 2;
    }
    if (!HAS_ROOM(to->table, room)) {
        return 0;
    }
    uint32_t *table = to->table.start; /* from 1: the number of the key at this place */
    memset(table, 0, room * sizeof *table);
    for (size_t i = 0; i < count; i++) {
        size_t place = hash_of(to->out.start + keys[i].start, keys[i].size) & (room - 1);
        while (table[place] && !is_same(to, keys[table[place] - 1], keys[i])) {
            place = (place + 1) & (room - 1);
        }
        if (table[place]) {
            to->places.start[i] = to->places.start[table[place] - 1];
        } else {
            table[place] = (uint32_t)i + 1;
            to->places.start[i] = (uint32_t)entries_count++;
        }
    }
    return entries_count;
}

/* The first of the keys that is the same as the last one, which may be itself. */
static inline size_t first_same(struct carrying *to, const struct key *keys, size_t last) {
    size_t i = 0;
    while (i < last && !is_same(to, keys[i], keys[last])) {
        i++;
    }
    return i;
}

/* The same for any object; without `places` if all keys are different. */
static size_t entries_of(struct carrying *to, const struct key *keys, size_t count) {
    size_t entries_count = 0, first = 0;
    if (count > KEYS_COMPARED_MAX) {
        return HAS_ROOM(to->places, count) ? entries_by_table(to, keys, count) : 0;
    }
    while (first < count && first_same(to, keys, first) == first) {
        first++;
    }
    if (first == count || !HAS_ROOM(to->places, count)) {
        return first == count ? count : 0;
    }
    for (size_t i = 0; i < count; i++) {
        size_t same = first_same(to, keys, i);
        to->places.start[i] = same < i ? to->places.start[same] : (uint32_t)entries_count++;
    }
    return entries_count;
}

/* Notes which entries an object has in which a key comes twice. An entry is where the key came first, and has its last
 * value. It ends where the next key begins, `between_size` before that. */
static int is_twice(struct carrying *to, const struct key *keys, size_t count, size_t entries_count,
                    uint32_t between_size) {
    if (!HAS_ROOM(to->entries, entries_count) || !HAS_ROOM(to->twice, 1)) {
        return 0;
    }
    uint32_t end = (uint32_t)to->out.count, mark_end = (uint32_t)to->marks.count;
    struct entry *entries = to->entries.start + to->entries.count;
    for (size_t i = 0; i < count; i++) {
        int is_last = i + 1 == count;
        entries[to->places.start[i]] =
            (struct entry){keys[i].start, is_last ? end : keys[i + 1].start - between_size, keys[i].mark,
                           is_last ? mark_end : keys[i + 1].mark};
    }
    to->twice.start[to->twice.count++] =
        (struct twice){end, mark_end, (uint32_t)to->entries.count, (uint32_t)entries_count};
    to->entries.count += entries_count;
    struct mark *mark = &to->marks.start[to->open[to->depth].mark];
    mark->twice = (uint32_t)to->twice.count;
    mark->count = (uint32_t)entries_count;
    return 1;
}

/* Puts a short object with a key twice in order at once, which takes less than to note what is to be done. */
static void put_in_order(struct carrying *to, const struct key *keys, size_t count, size_t entries_count,
                         const char *between) {
    byte ordered[IN_ORDER_SIZE_BYTES_MAX];
    uint32_t last[IN_ORDER_SIZE_BYTES_MAX]; /* keys of each entry */
    size_t size = 0, between_size = strlen(between);
    for (size_t i = 0; i < count; i++) {
        last[to->places.start[i]] = (uint32_t)i;
    }
    for (size_t i = 0; i < entries_count; i++) {
        const struct key *key = &keys[last[i]];
        size_t end = last[i] + 1 == count ? to->out.count : key[1].start - between_size;
        if (i > 0) {
            memcpy(ordered + size, between, between_size);
            size += between_size;
        }
        memcpy(ordered + size, to->out.start + key->start, end - key->start);
        size += end - key->start;
    }
    memcpy(to->out.start + keys->start, ordered, size);
    to->out.count = keys->start + size;
    to->marks.start[to->open[to->depth].mark].count = (uint32_t)entries_count;
}

/* Takes the last container to be open for closed. `between` is between its entries. */
static int is_closed(struct carrying *to, const char *between) {
    size_t before = to->open[--to->depth].keys_count_before, count = to->keys.count - before;
    const struct key *keys = to->keys.start + before;
    to->keys.count = before;
    if (count < 2) {
        return 1;
    }
    size_t entries_count = entries_of(to, keys, count);
    if (entries_count == count || entries_count == 0) {
        return entries_count > 0;
    }
    int has_marks_inside = to->marks.count > to->open[to->depth].mark + 1;
    if (has_marks_inside || to->out.count - keys->start > IN_ORDER_SIZE_BYTES_MAX) {
        return is_twice(to, keys, count, entries_count, (uint32_t)strlen(between));
    }
    put_in_order(to, keys, count, entries_count, between);
    return 1;
}

/* An object with a key twice that is being put together, and what comes behind it. */
struct resumed {
    uint32_t next, stop; /* entries */
    uint32_t at, end, mark, mark_end;
};

/* Writes what belongs in the place of a mark; no, with an exception, if that is a value that is refused. */
typedef int (*mark_writer)(struct carrying *whole, const struct mark *);

/* Writes again what was written, with what belongs in the place of each mark, and of an object with a key twice its
 * entries alone. So each byte is moved once, however many such objects are inside each other. `between` is between
 * entries. */
static int is_put_together(struct carrying *to, mark_writer write_mark, const char *between) {
    struct carrying whole;
    LIST(struct resumed) resumed = {NULL, 0, 0};
    uint32_t at = 0, end = (uint32_t)to->out.count, mark = 0, mark_end = (uint32_t)to->marks.count;
    size_t between_size = strlen(between);
    int is_done = 0;
    memset(&whole, 0, offsetof(struct carrying, open));
    if (!HAS_ROOM(to->out, 1) || !HAS_ROOM(whole.out, to->out.count + LENGTH_SIZE_MAX * to->marks.count)) {
        return 0; /* nothing may have been written, and then there would be nothing to copy from */
    }
    while (!is_done) {
        uint32_t twice = 0;
        while (mark < mark_end && !twice) {
            struct mark *next = &to->marks.start[mark++];
            put_bytes(&whole, to->out.start + at, next->at - at);
            at = next->at;
            if (!write_mark(&whole, next)) {
                goto stop;
            }
            twice = next->twice;
        }
        if (twice) {
            struct twice object = to->twice.start[twice - 1];
            if (!HAS_ROOM(resumed, 1)) {
                goto stop;
            }
            resumed.start[resumed.count++] = (struct resumed){
                object.entry, object.entry + object.entries_count, object.end, end, object.mark_end, mark_end};
        } else {
            put_bytes(&whole, to->out.start + at, end - at);
        }
        if (resumed.count == 0) {
            is_done = 1;
            continue;
        }
        struct resumed *last = &resumed.start[resumed.count - 1];
        if (last->next < last->stop) {
            struct entry entry = to->entries.start[last->next++];
            if (!twice) {
                put_bytes(&whole, between, between_size);
            }
            at = entry.start, end = entry.end, mark = entry.mark, mark_end = entry.mark_end;
        } else {
            at = last->at, end = last->end, mark = last->mark, mark_end = last->mark_end;
            resumed.count--;
        }
    }
stop:
    PyMem_Free(resumed.start);
    PyMem_Free(to->out.start);
    to->out.start = whole.out.start;
    to->out.count = whole.out.count;
    return is_done;
}

/* What was carried, None or an exception, from what a function of a module is called with. */
typedef int (*carrier)(struct carrying *, const byte *, const byte *);

static PyObject *answer(PyObject *data, carrier carry) {
    Py_buffer buffer;
    struct carrying to;
    PyObject *carried = NULL;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    memset(&to, 0, offsetof(struct carrying, open));
    const byte *start = buffer.buf;
    if (buffer.len <= SIZE_BYTES_MAX && carry(&to, start, start + buffer.len)) {
        carried = PyBytes_FromStringAndSize((const char *)to.out.start, (Py_ssize_t)to.out.count);
    } else if (!PyErr_Occurred()) {
        carried = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&buffer);
    PyMem_Free(to.out.start);
    PyMem_Free(to.keys.start);
    PyMem_Free(to.marks.start);
    PyMem_Free(to.table.start);
    PyMem_Free(to.places.start);
    PyMem_Free(to.entries.start);
    PyMem_Free(to.twice.start);
    return carried;
}

#endif
