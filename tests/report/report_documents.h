/* report_documents.h: result documents made by hand, and what every page of them has to keep. */
#ifndef REPORT_DOCUMENTS_H
#define REPORT_DOCUMENTS_H

#include "report.h"

/* A level's row: size in bytes, KLD, routing agreement. */
void add_row(cJSON *rows, const char *name, double bytes, double kld, double exact);
/* A sweep with its baseline alone. */
cJSON *sweep_document(const char *path);
cJSON *three_levels(const char *path);
/* As `verify` prints it; the gate of one broken limit and one kept, if `gate`. */
cJSON *verification(bool two, bool gate);

/* The caller frees it. */
char *rendered(const cJSON *document, enum mq_report_format format);
size_t count(const char *text, const char *what);
/* Every tag that opens closes. */
void check_balanced(const char *html);
/* Well-formed, loads nothing, says nothing that is no number. */
void check_page(const char *html);

/* All numbers become null. */
void forget_numbers(cJSON *item);

#endif
