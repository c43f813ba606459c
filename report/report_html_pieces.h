/*
 * report_html_pieces.h: what the parts of the HTML page are put together from.
 *
 * What is called markup is written as it is, and stands in these files alone; all other text is escaped here.
 */
#ifndef MQ_REPORT_HTML_PIECES_H
#define MQ_REPORT_HTML_PIECES_H

#include "report_doc.h"

void mq_html_put(struct mq_buffer *out, const char *markup);
/* Markup that has {level} in it, the word for what is judged. */
void mq_html_say(const struct mq_page *r, struct mq_buffer *out, const char *markup);
/* Markup, text, markup. */
void mq_html_element(struct mq_buffer *out, const char *open, const char *text, const char *close);

void mq_html_section(struct mq_buffer *out, const char *id, const char *title);
void mq_html_end_section(struct mq_buffer *out);

/* A table in a container of its own that scrolls where the page is narrow; reachable by keyboard. */
void mq_html_open_table(const struct mq_page *r, struct mq_buffer *out, const char *label,
                        const char *words);
void mq_html_close_table(struct mq_buffer *out);

void mq_html_open_head(struct mq_buffer *out);
/* "Size|GiB": a column's name, and what stands below it in small print. "<Class": a column of text. */
void mq_html_head_cell(struct mq_buffer *out, const char *text);
/* A figure's column: its title, in small print its unit; what it means shows under the mouse. */
void mq_html_figure_head(struct mq_buffer *out, const struct mq_figure *figure);
void mq_html_close_head(struct mq_buffer *out);
/* A whole head of cells in which {level} may stand. */
void mq_html_head_row(const struct mq_page *r, struct mq_buffer *out, const char *const *cells,
                      size_t n);
#define MQ_HTML_HEAD(r, out, ...)                                                        \
    do {                                                                                 \
        static const char *const head_cells_[] = {__VA_ARGS__};                          \
        mq_html_head_row(r, out, head_cells_, sizeof head_cells_ / sizeof *head_cells_); \
    } while (0)

void mq_html_open_row(struct mq_buffer *out, const char *name, bool marked);
void mq_html_cell(struct mq_buffer *out, const char *text);
/* "99.72 ± 0.02 %" stands as two lines, the error in small print below its value. */
void mq_html_estimate(struct mq_buffer *out, struct mq_words words);
void mq_html_estimate_cell(struct mq_buffer *out, struct mq_words words);
/* A dash where there is none. */
void mq_html_figure_cell(struct mq_buffer *out, const struct mq_figure *figure,
                         struct mq_estimate e);
void mq_html_close_row(struct mq_buffer *out);

#endif
