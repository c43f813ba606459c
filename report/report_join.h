/* report_join.h: several results of the same original, text and protocol as one. */
#ifndef MQ_REPORT_JOIN_H
#define MQ_REPORT_JOIN_H

#include "moeq.h"

#include <cjson/cJSON.h>

/*
 * The rows of all documents below the first one's original: a sweep's document, of levels and files, without what is
 * about a single run (differences, gates, attribution). Files are lettered anew. What is there twice, a level or a file
 * with the same figures, is there once; with other figures it is an error, as is a document about another original, text,
 * protocol or arithmetic, which is named (`names`: of the documents, for messages). The caller cJSON_Deletes it.
 */
moeq_status mq_report_join(const cJSON *const *documents, const char *const *names, size_t count,
                           cJSON **joined, moeq_error *err);

#endif
