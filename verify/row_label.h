/* row_label.h: what tables and pages call the row of a file. */
#ifndef MQ_ROW_LABEL_H
#define MQ_ROW_LABEL_H

#include <stdbool.h>

enum { MQ_ROW_LABEL = 64 };

/* "new" of dir/new.moeq and of dir/new/; of several files behind the letter by which differences call it: "B new". */
void mq_file_label(const char *path, const char *letter, bool several, char label[MQ_ROW_LABEL]);

#endif
