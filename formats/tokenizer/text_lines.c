/* text_lines.c: see the header. */
#include "text_lines.h"

#include "error.h"
#include "json.h"
#include "json_string.h"

#include <inttypes.h>
#include <string.h>

static bool is_blank(const char *line, size_t n)
{
    while (n && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r'))
        n--;
    return n == 0;
}

static moeq_status read_line(const char *path, const char *line, size_t n, uint64_t offset,
                             struct mq_text_line *read, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 16, .values = 1000000, .nul_in_texts = true};
    cJSON *tree;
    bool found;
    MQ_TRY(mq_json_parse(line, n, &limits, path, offset, &tree, err));
    const cJSON *special = mq_json_get(tree, "add_special_tokens");
    read->add_special_tokens = !special || cJSON_IsTrue(special);
    cJSON_Delete(tree);
    mq_buffer_clear(&read->text);
    MQ_TRY(mq_json_string_member(line, n, "text", &read->text, &found, err));
    return found ? MOEQ_OK
                 : mq_fail_file(err, MOEQ_MALFORMED, path, "JSON at byte %" PRIu64 ": no \"text\"",
                                offset);
}

moeq_status mq_text_line_next(const char *path, const struct mq_buffer *lines, size_t *at,
                              struct mq_text_line *read, bool *more, moeq_error *err)
{
    *more = false;
    while (*at < lines->size) {
        const size_t from = *at;
        const char *line = lines->data + from, *end = memchr(line, '\n', lines->size - from);
        const size_t n = end ? (size_t)(end - line) : lines->size - from;
        *at = from + n + (end != NULL);
        *more = !is_blank(line, n);
        if (*more)
            return read_line(path, line, n, from, read, err);
    }
    return MOEQ_OK;
}
