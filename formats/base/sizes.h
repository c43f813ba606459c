/* sizes.h: sizes in bytes as people write and read them. */
#ifndef MQ_SIZES_H
#define MQ_SIZES_H

#include <stdbool.h>
#include <stdint.h>

/* Digits; with `units` an optional unit, too: K M G T (powers of 1024), also written KiB or KB; with a
 * unit, up to six decimals: 23.5G. */
bool mq_parse_number(const char *text, bool units, uint64_t *value);
/* "24GiB", "23.5G" */
bool mq_parse_size(const char *text, uint64_t *bytes);

/* "4.36 GiB", "12.7 MiB", "512 B" */
const char *mq_format_bytes(uint64_t bytes, char text[32]);

/* "4.359901G": at least as much, so that it can be given where no less will do. */
const char *mq_format_size_up(uint64_t bytes, char text[32]);

#endif
