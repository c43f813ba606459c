/* terminal_text.h: text from a model on a terminal, where control characters would act. */
#ifndef MQ_TERMINAL_TEXT_H
#define MQ_TERMINAL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Whether a UTF-8 text has control characters (C0, DEL and C1), newline and tab among them. */
bool mq_has_controls(const char *text);

/* Writes UTF-8. On a terminal control characters but newline and tab (C0, DEL and C1) are shown as
 * \x1b; elsewhere all bytes are as they are. */
void mq_print_terminal_text(FILE *out, const char *text, size_t n, bool terminal);

#endif
