/* terminal_text.h: how wide a terminal is, sentences that fit it, and text from a model, whose control characters would
 * act there. */
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

/* Columns of the terminal behind a file descriptor: COLUMNS, or what the terminal says; 80 if neither does. */
int mq_terminal_columns(int fd);
/* Of standard output, from 20 to 160: what tables may take. */
int mq_output_columns(void);
/* Of a text: a character of UTF-8 is one, as all of ours are. */
int mq_columns_of(const char *text);

/* Prints words wrapped before the terminal's last column, and before column 80 of wider ones; further lines begin at
 * column `from`, the first one goes on at column `at`. Ends the line. */
void mq_print_wrapped(const char *text, int at, int from);
/* The same of a format whose blanks at its beginning are kept; further lines begin at `from`. */
void mq_print_sentence(int from, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same of a line that programs look for: wrapped where the width is known (a terminal, COLUMNS), one line in a pipe
 * or a file. */
void mq_print_line(int from, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The rest of such a line, of which `at` columns are there; further lines begin below its first word. */
void mq_print_line_rest(const char *text, int at);
/* Such a line on standard error. */
void mq_say(int from, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
