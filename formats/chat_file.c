/* chat_file.c: messages of a file, one after the other, into turns. */
#include "chat_file.h"

#include "error.h"
#include "json.h"
#include "text_input.h"

#include <string.h>

#define FILE_CAP_BYTES ((uint64_t)16 << 20)
#define AS_IN "as in {\"role\": \"user\", \"content\": \"Hi\"}"

static const struct mq_json_limits limits = {.depth = 16, .values = 100000};

/* A chat as it is read. */
struct reader {
    const char *path, *unit; /* unit: what messages are counted in, "line" or "message" */
    struct mq_arena *arena;
    struct mq_chat_turn *turn;
    struct mq_chat_exchange *exchanges; /* of turn->earlier */
    bool asked;                         /* the last message is the user's */
};

static moeq_status refuse(const struct reader *r, size_t place, const char *what, moeq_error *err)
{
    return mq_fail_file(err, MOEQ_MALFORMED, r->path, "%s %zu: %s", r->unit, place, what);
}

static moeq_status add_user(struct reader *r, const char *text, size_t n)
{
    r->turn->user = text;
    r->turn->user_size = n;
    r->asked = true;
    return MOEQ_OK;
}

static moeq_status add_answer(struct reader *r, const char *text, size_t n)
{
    r->exchanges[r->turn->earlier_count++] =
        (struct mq_chat_exchange){r->turn->user, r->turn->user_size, text, n};
    r->asked = false;
    return MOEQ_OK;
}

/* A message whose turn it is. */
static moeq_status add(struct reader *r, size_t place, const char *role, const char *text,
                       moeq_error *err)
{
    const size_t n = strlen(text);
    const bool first = !r->asked && !r->turn->earlier_count && !r->turn->system;
    if (r->turn->earlier_count == MQ_CHAT_MESSAGES_MAX / 2)
        return mq_fail_file(err, MOEQ_LIMIT, r->path, "%s %zu: expected at most %d messages",
                            r->unit, place, MQ_CHAT_MESSAGES_MAX);
    if (strcmp(role, "user") == 0 && !r->asked)
        return add_user(r, text, n);
    if (strcmp(role, "assistant") == 0 && r->asked)
        return add_answer(r, text, n);
    if (strcmp(role, "system") == 0 && first) {
        r->turn->system = text;
        r->turn->system_size = n;
        return MOEQ_OK;
    }
    if (strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0)
        return refuse(r, place,
                      r->asked ? "\"role\": expected \"assistant\" behind a user's message"
                               : "\"role\": expected \"user\": user and assistant take turns, and "
                                 "the user begins",
                      err);
    if (strcmp(role, "system") == 0)
        return refuse(r, place, "\"role\": a system message comes first, and once", err);
    return mq_fail_file(err, MOEQ_UNSUPPORTED, r->path,
                        "%s %zu: \"role\": \"%.40s\": expected system, user or assistant", r->unit,
                        place, role);
}

static moeq_status read_message(struct reader *r, size_t place, const cJSON *message,
                                moeq_error *err)
{
    const cJSON *role = mq_json_get(message, "role"), *content = mq_json_get(message, "content");
    if (!cJSON_IsObject(message))
        return refuse(r, place, "expected a message, " AS_IN, err);
    if (!cJSON_IsString(role))
        return refuse(r, place, "\"role\": expected system, user or assistant, " AS_IN, err);
    if (!cJSON_IsString(content))
        return refuse(r, place, "\"content\": expected a text, " AS_IN, err);
    const char *text = mq_arena_strdup(r->arena, content->valuestring);
    return text ? add(r, place, role->valuestring, text, err)
                : mq_fail_memory(err, "reading a chat");
}

static moeq_status parse(const struct reader *r, const char *text, size_t n, size_t line,
                         cJSON **tree, moeq_error *err)
{
    const char *where = line ? mq_arena_printf(r->arena, "%s: line %zu", r->path, line) : r->path;
    if (!where)
        return mq_fail_memory(err, "reading a chat");
    return mq_json_parse(text, n, &limits, where, 0, tree, err);
}

/* One text: a list, or an object with one. */
static moeq_status read_list(struct reader *r, const char *text, size_t n, moeq_error *err)
{
    cJSON *tree = NULL;
    moeq_status status = parse(r, text, n, 0, &tree, err);
    const cJSON *list = cJSON_IsObject(tree) ? mq_json_get(tree, "messages") : tree;
    size_t number = 0;
    r->unit = "message";
    if (status == MOEQ_OK && !cJSON_IsArray(list))
        status = mq_fail_file(err, MOEQ_MALFORMED, r->path,
                              "\"messages\": expected a list of messages, " AS_IN);
    for (const cJSON *m = list ? list->child : NULL; m && status == MOEQ_OK; m = m->next)
        status = read_message(r, ++number, m, err);
    cJSON_Delete(tree);
    return status;
}

static bool is_blank(const char *text, size_t n)
{
    while (n && strchr(" \t\r\n", text[n - 1]) && text[n - 1])
        n--;
    return n == 0;
}

static moeq_status read_lines(struct reader *r, const char *text, size_t n, moeq_error *err)
{
    size_t number = 0;
    r->unit = "line";
    for (const char *line = text, *const end = text + n; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const size_t size = (size_t)((stop ? stop : end) - line);
        cJSON *tree = NULL;
        number++;
        moeq_status status = MOEQ_OK;
        if (!is_blank(line, size)) {
            status = parse(r, line, size, number, &tree, err);
            if (status == MOEQ_OK)
                status = read_message(r, number, tree, err);
        }
        cJSON_Delete(tree);
        MQ_TRY(status);
        line = stop ? stop + 1 : end;
    }
    return MOEQ_OK;
}

/* Whether the first line is a message: text that goes on behind an object is a message a line. */
static bool has_lines(const char *text, size_t n)
{
    const char *stop = memchr(text, '\n', n);
    moeq_error ignored = {0};
    cJSON *tree = NULL;
    const size_t size = stop ? (size_t)(stop - text) : n;
    const bool is_message = mq_json_parse(text, size, &limits, "", 0, &tree, &ignored) == MOEQ_OK &&
                            mq_json_get(tree, "role");
    cJSON_Delete(tree);
    return is_message;
}

moeq_status mq_chat_file_read(const char *path, struct mq_arena *arena, struct mq_chat_turn *turn,
                              moeq_error *err)
{
    struct reader r = {.path = path, .arena = arena, .turn = turn};
    struct mq_buffer bytes = {0};
    moeq_status status;
    MQ_TRY(mq_input_read(path, FILE_CAP_BYTES, &bytes, err));
    const char *text = bytes.data ? bytes.data : "";
    r.exchanges = mq_arena_alloc(arena, MQ_CHAT_MESSAGES_MAX / 2, sizeof *r.exchanges);
    turn->earlier = r.exchanges;
    if (!r.exchanges)
        status = mq_fail_memory(err, "reading a chat");
    else if (has_lines(text, bytes.size))
        status = read_lines(&r, text, bytes.size, err);
    else
        status = read_list(&r, text, bytes.size, err);
    mq_buffer_free(&bytes);
    MQ_TRY(status);
    if (r.asked)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_MALFORMED, path,
                        turn->earlier_count
                            ? "the last message is the assistant's: expected the user's, which is "
                              "to be answered"
                            : "holds no user's message, which is to be answered");
}
