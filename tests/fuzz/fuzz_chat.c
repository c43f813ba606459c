/*
 * fuzz_chat.c: a chat template up to the first NUL byte, then what the user says; the other half of
 * it, where there is a second NUL, is the system message.
 *
 * Beyond "no crash": what is written holds both messages as they are, but for white space around
 * them, or it is refused with a reason.
 */
#include "chat.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The longest part of a message without white space. */
static int holds(const struct mq_buffer *out, const char *text, size_t n)
{
    while (n && strchr(" \t\n\v\f\r", text[0]) && text[0])
        text++, n--;
    while (n && strchr(" \t\n\v\f\r", text[n - 1]) && text[n - 1])
        n--;
    return !n || memmem(out->data, out->size, text, n) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *nul = size ? memchr(text, 0, size) : NULL;
    const size_t n = nul ? (size_t)(nul - text) : size;
    const char *user = nul ? nul + 1 : text + size, *end = text + size;
    const char *second = user < end ? memchr(user, 0, (size_t)(end - user)) : NULL;
    const struct mq_chat_turn turn = {.user = user,
                                      .user_size = (size_t)((second ? second : end) - user),
                                      .system = second ? second + 1 : NULL,
                                      .system_size = second ? (size_t)(end - second - 1) : 0,
                                      .date = "2025-08-01"};
    const struct mq_chat_form *form = mq_chat_find(text, n);
    struct mq_buffer out = {0};
    moeq_error err = {0};
    if (!form)
        return 0;
    if (mq_chat_write(form, text, n, "<s>", &turn, &out, &err) == MOEQ_OK) {
        if (!holds(&out, turn.user, turn.user_size) ||
            (turn.system && !holds(&out, turn.system, turn.system_size)))
            abort();
    } else if (!err.message[0]) {
        abort();
    }
    mq_buffer_free(&out);
    return 0;
}
