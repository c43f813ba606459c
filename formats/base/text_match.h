/* text_match.h: names and paths by their ends, and by patterns with '*'. */
#ifndef MQ_TEXT_MATCH_H
#define MQ_TEXT_MATCH_H

#include <stdbool.h>

bool mq_ends_with(const char *text, const char *suffix);

/* What follows the last '/' of a path; all of it where nothing does. In the path. */
const char *mq_base_name(const char *path);

/* The last '.' of a path's base name and what follows; where there is none, or only a first
 * character, the end of the path. */
const char *mq_extension(const char *path);

/* Control characters, and bytes that are no UTF-8, become '?': a text from outside, for people. */
void mq_make_printable(char *text);

/* Whether a word is among words that are separated by spaces; NULL: there are none. */
bool mq_text_has_word(const char *words, const char *word);

/* '*' stands for any characters, also none; time is at most the product of the two lengths. */
bool mq_text_matches(const char *pattern, const char *text);

#endif
