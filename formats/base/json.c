/* json.c: cJSON behind the scan, a member at a time if asked for, and small helpers. */
#include "json.h"

#include "buffer.h"
#include "error.h"
#include "strmap.h"

#include <stdlib.h>
#include <string.h>

bool mq_utf8_valid(const char *text, size_t n, size_t *at)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        const unsigned char c = s[i];
        size_t length = 1;
        uint32_t smallest = 0, code = c;
        if (c < 0x80) {
            i++;
            continue;
        }
        if (c >= 0xc2 && c <= 0xdf) {
            length = 2, code = c & 0x1f, smallest = 0x80;
        } else if (c >= 0xe0 && c <= 0xef) {
            length = 3, code = c & 0x0f, smallest = 0x800;
        } else if (c >= 0xf0 && c <= 0xf4) {
            length = 4, code = c & 0x07, smallest = 0x10000;
        }
        bool ok = length > 1 && length <= n - i;
        for (size_t k = 1; ok && k < length; k++) {
            ok = (s[i + k] & 0xc0) == 0x80;
            code = code << 6 | (s[i + k] & 0x3f);
        }
        if (!ok || code < smallest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            if (at)
                *at = i;
            return false;
        }
        i += length;
    }
    return true;
}

/* Appends the number of `length` characters at `text` in a form that cJSON can read: the words as
 * strings; of long ones the double that they are (their digits beyond the 60th matter only by how
 * many they are before the point). */
static void put_mended(struct mq_buffer *out, const char *text, size_t length, size_t word)
{
    if (word) {
        mq_buffer_put_json(out, text, word);
        return;
    }
    const double value = strtod(text, NULL);
    if (value - value == 0)
        mq_buffer_printf(out, "%.17g", value);
    else
        mq_buffer_put_json(out, text, length);
}

/* A copy of the text with such numbers replaced. */
static void mend_numbers(const char *text, size_t n, struct mq_buffer *out)
{
    size_t from = 0;
    for (size_t at = 0; at < n;) {
        const char c = text[at];
        if (c == '"') {
            at = mq_json_string_end(text, n, at);
            continue;
        }
        const size_t word = mq_json_number_word(text, n, at);
        size_t length = word;
        if (!word && (c == '-' || (c >= '0' && c <= '9')))
            length = strspn(text + at, "0123456789+-.eE");
        if (word || length > MQ_JSON_NUMBER) {
            mq_buffer_append(out, text + from, at - from);
            put_mended(out, text + at, length, word);
            from = at + length;
        }
        at += length ? length : 1;
    }
    mq_buffer_append(out, text + from, n - from);
}

// NOLINTNEXTLINE(misc-no-recursion): once: what was mended has nothing to mend
static moeq_status parse_mended(const char *text, size_t n, const struct mq_json_limits *limits,
                                const char *path, uint64_t base_offset, cJSON **tree,
                                moeq_error *err)
{
    struct mq_buffer mended = {0};
    char *copy = malloc(n + 1); /* strspn and strtod want an end */
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = '\0';
        mend_numbers(copy, n, &mended);
    }
    moeq_status status =
        copy && mq_buffer_ok(&mended)
            ? mq_json_parse(mended.data, mended.size, limits, path, base_offset, tree, err)
            : mq_fail_memory(err, "reading JSON");
    mq_buffer_free(&mended);
    free(copy);
    return status;
}

/* Passes over a byte order mark, which editors on Windows put there, and scans the rest. */
static moeq_status scan(const char **text, size_t *n, const struct mq_json_limits *limits,
                        const char *path, uint64_t *base_offset, struct mq_json_scan *scan,
                        moeq_error *err)
{
    size_t bad;
    if (*n >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
        *text += 3;
        *n -= 3;
        *base_offset += 3;
    }
    if (!mq_utf8_valid(*text, *n, &bad))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "JSON at byte %llu: invalid UTF-8",
                            (unsigned long long)(*base_offset + bad));
    *scan = (struct mq_json_scan){.text = *text, .n = *n};
    if (mq_json_scan(scan, limits))
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_MALFORMED, path, "JSON at byte %llu: found %s",
                        (unsigned long long)(*base_offset + scan->at), scan->problem);
}

// NOLINTNEXTLINE(misc-no-recursion): see parse_mended
moeq_status mq_json_parse(const char *text, size_t n, const struct mq_json_limits *limits,
                          const char *path, uint64_t base_offset, cJSON **tree, moeq_error *err)
{
    struct mq_json_scan s;
    *tree = NULL;
    MQ_TRY(scan(&text, &n, limits, path, &base_offset, &s, err));
    if (s.mends)
        return parse_mended(text, n, limits, path, base_offset, tree, err);
    *tree = cJSON_ParseWithLength(text, n);
    /* The scan has found no fault, so there is none. */
    return *tree ? MOEQ_OK : mq_fail_memory(err, "reading JSON");
}

moeq_status mq_json_check(const char *text, size_t n, const struct mq_json_limits *limits,
                          const char *path, uint64_t base_offset, struct mq_json_walk *walk,
                          uint64_t *members, moeq_error *err)
{
    struct mq_json_scan s;
    MQ_TRY(scan(&text, &n, limits, path, &base_offset, &s, err));
    *members = s.members;
    walk->text = text;
    walk->n = n;
    walk->at = strspn(text, " \t\r\n"); /* a value follows, or the scan had failed */
    walk->value_end = text[walk->at] == '{' ? 0 : n;
    return MOEQ_OK;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the limits of the scan
moeq_status mq_json_refuse_duplicates(const cJSON *tree, const char *path, moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    if (cJSON_IsObject(tree)) {
        struct mq_strmap keys;
        if (!mq_strmap_init(&keys, (size_t)cJSON_GetArraySize(tree)))
            return mq_fail_memory(err, "checking JSON keys");
        for (const cJSON *c = tree->child; c && status == MOEQ_OK; c = c->next) {
            switch (mq_strmap_add(&keys, c->string, strlen(c->string), 0)) {
            case MQ_STRMAP_ADDED:
                break;
            case MQ_STRMAP_DUPLICATE:
                status = mq_fail_file(err, MOEQ_MALFORMED, path,
                                      "JSON holds the key \"%.200s\" twice", c->string);
                break;
            case MQ_STRMAP_NO_MEMORY:
                status = mq_fail_memory(err, "checking JSON keys");
                break;
            }
        }
        mq_strmap_free(&keys);
    }
    for (const cJSON *c = tree->child; c && status == MOEQ_OK; c = c->next)
        if (c->child)
            status = mq_json_refuse_duplicates(c, path, err);
    return status;
}

static bool same_members(const cJSON *a, const cJSON *b);

// NOLINTNEXTLINE(misc-no-recursion): as deep as the limits of the scan
bool mq_json_same(const cJSON *a, const cJSON *b)
{
    if (!a || !b || (a->type & 0xff) != (b->type & 0xff))
        return false;
    if (cJSON_IsNumber(a))
        return a->valuedouble == b->valuedouble;
    if (cJSON_IsString(a))
        return strcmp(a->valuestring, b->valuestring) == 0;
    if (cJSON_IsObject(a))
        return same_members(a, b);
    const cJSON *x = a->child, *y = b->child;
    while (x && y && mq_json_same(x, y)) {
        x = x->next;
        y = y->next;
    }
    return !x && !y;
}

/* The keys of an object, to its members: of few none, which are found one by one and without memory. */
struct keys {
    const cJSON *object, **members; /* NULL: few */
    struct mq_strmap map;
};

static bool map_keys(const cJSON *object, struct keys *k)
{
    enum { FEW = 64 };
    const size_t n = (size_t)cJSON_GetArraySize(object);
    uint32_t count = 0;
    *k = (struct keys){.object = object};
    if (n <= FEW)
        return true;
    k->members = calloc(n, sizeof *k->members);
    bool ok = k->members && mq_strmap_init(&k->map, n);
    for (const cJSON *c = object->child; ok && c; c = c->next) {
        k->members[count] = c;
        ok = mq_strmap_add(&k->map, c->string, strlen(c->string), count++) == MQ_STRMAP_ADDED;
    }
    return ok;
}

static const cJSON *find_key(const struct keys *k, const char *name)
{
    uint32_t i;
    if (!k->members)
        return mq_json_get(k->object, name);
    return mq_strmap_get(&k->map, name, strlen(name), &i) ? k->members[i] : NULL;
}

// NOLINTNEXTLINE(misc-no-recursion): see mq_json_same
static bool same_members(const cJSON *a, const cJSON *b)
{
    struct keys of_a = {0}, of_b = {0};
    bool same = map_keys(a, &of_a) && map_keys(b, &of_b);
    for (const cJSON *x = a->child; same && x; x = x->next)
        same = mq_json_same(x, find_key(&of_b, x->string));
    for (const cJSON *y = b->child; same && y; y = y->next)
        same = find_key(&of_a, y->string) != NULL;
    free(of_a.members);
    free(of_b.members);
    mq_strmap_free(&of_a.map);
    mq_strmap_free(&of_b.map);
    return same;
}

bool mq_json_u64(const cJSON *item, uint64_t *value)
{
    return cJSON_IsNumber(item) && mq_json_whole(item->valuedouble, value);
}

bool mq_json_whole(double d, uint64_t *value)
{
    if (!(d >= 0 && d < 9007199254740992.0) || d != (double)(uint64_t)d)
        return false;
    *value = (uint64_t)d;
    return true;
}

const cJSON *mq_json_get(const cJSON *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}
