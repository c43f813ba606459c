/* plan_name.c: what a model is called. */
#include "plan_int.h"

#include "gguf_names.h"
#include "json.h"
#include "moeq_profile.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

/* The last part, without slashes behind it. */
static const char *last_part(const char *path, size_t *n)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && path[start - 1] != '/')
        start--;
    *n = end - start;
    return path + start;
}

/* ".", "models/..": what the path says is not the name. */
static bool is_dots(const char *part, size_t n)
{
    return n == 0 || (n <= 2 && strspn(part, ".") >= n);
}

/* Of the path, without an extension that is a format's. What is no text of one line, as a file's
 * name may be, is replaced by '_': the name goes into JSON and GGUF. */
static const char *name_of_path(struct mq_arena *arena, const char *path)
{
    static const char *const extensions[] = {MQ_INDEX_ENDING, ".moeq", ".gguf"};
    size_t n;
    const char *part = last_part(path, &n);
    char *real = is_dots(part, n) ? realpath(path, NULL) : NULL;
    if (real)
        part = last_part(real, &n);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        const size_t m = strlen(extensions[i]);
        if (n > m && strncmp(part + n - m, extensions[i], m) == 0)
            n -= m;
    }
    char *name = mq_arena_strndup(arena, part, n);
    free(real);
    if (!name)
        return NULL;
    for (size_t bad; !mq_utf8_valid(name, n, &bad);)
        name[bad] = '_';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            name[i] = '_';
    return name;
}

const char *mq_plan_model_name(const struct mq_plan *plan)
{
    const struct mq_view *view = plan->view;
    const char *key = view->kind == MQ_VIEW_MOEQ   ? MQ_META_NAME
                      : view->kind == MQ_VIEW_GGUF ? MQ_GGUF_KEY_NAME
                                                   : NULL;
    const char *carried = key && view->metadata ? mq_metadata_get(view->metadata, key) : NULL;
    return carried && *carried ? carried : name_of_path(plan->arena, view->path);
}
