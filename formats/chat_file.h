/*
 * chat_file.h: a chat from a file, as chat templates take it:
 *
 *     [{"role": "system", "content": "Be brief."},
 *      {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."},
 *      {"role": "user", "content": "Why is the sky blue?"}]
 *
 * as a list, under "messages" of an object, or a message a line. A system message may come first; then user
 * and assistant take turns, and the user has the last word, which is what is to be answered.
 */
#ifndef MQ_CHAT_FILE_H
#define MQ_CHAT_FILE_H

#include "arena.h"
#include "chat.h"

enum { MQ_CHAT_MESSAGES_MAX = 1000 };

/* Fills `turn` but for its date and eos; its texts are the arena's. `path`: "-" is standard input. */
moeq_status mq_chat_file_read(const char *path, struct mq_arena *arena, struct mq_chat_turn *turn,
                              moeq_error *err);

#endif
