/* scratch_file.h: a file without a name, for what memory has no room for: it is gone when it is closed, however the
 * process ends. */
#ifndef MQ_SCRATCH_FILE_H
#define MQ_SCRATCH_FILE_H

#include "file.h"

/* Makes one, empty, in `folder`, for mq_file_close to close; of NULL in the first of $TMPDIR, /tmp and /var/tmp that has a file system of its own
 * on a disk: one in memory (tmpfs) would take what is to be spared, and is used only where it is named. False: there
 * is none to be had. */
bool mq_scratch_file_open(const char *folder, struct mq_file *file);

/* Whether so many bytes more, from `end` on, fit: a twentieth of the file system is left to others. */
bool mq_scratch_file_fits(const struct mq_file *file, uint64_t end, uint64_t bytes);

#endif
