/*
 * fuzz_chat_file.c: a chat of generate --chat-file, a list of messages or a message a line.
 *
 * Beyond "no crash": an accepted chat ends with a user's message and all its texts are UTF-8; a failure names the file.
 */
#include "fuzz_support.h"

#include "chat_file.h"
#include "json.h"

#include <string.h>

static void check_text(const char *text, size_t n)
{
    size_t bad;
    fuzz_expect(text && strlen(text) == n && mq_utf8_valid(text, n, &bad));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_file file;
    const char *path = fuzz_put(&file, data, size);
    struct mq_arena *arena = mq_arena_create();
    struct mq_chat_turn turn = {0};
    moeq_error err = {0};
    fuzz_expect(arena != NULL);
    const moeq_status status = mq_chat_file_read(path, arena, &turn, &err);
    if (status == MOEQ_OK) {
        check_text(turn.user, turn.user_size);
        fuzz_expect(turn.earlier_count <= MQ_CHAT_MESSAGES_MAX / 2);
        for (size_t i = 0; i < turn.earlier_count; i++) {
            check_text(turn.earlier[i].user, turn.earlier[i].user_size);
            check_text(turn.earlier[i].answer, turn.earlier[i].answer_size);
        }
        if (turn.system)
            check_text(turn.system, turn.system_size);
    } else {
        fuzz_refused(status, &err, path);
    }
    mq_arena_destroy(arena);
    return 0;
}
