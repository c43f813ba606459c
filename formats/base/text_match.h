/* text_match.h: names by their ends, and by patterns with '*'. */
#ifndef MQ_TEXT_MATCH_H
#define MQ_TEXT_MATCH_H

#include <stdbool.h>

bool mq_ends_with(const char *text, const char *suffix);

/* '*' stands for any characters, also none; time is at most the product of the two lengths. */
bool mq_text_matches(const char *pattern, const char *text);

#endif
