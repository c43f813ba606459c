/* fit_target.h: cards, and what runs on them, as people name them. */
#ifndef MQ_FIT_TARGET_H
#define MQ_FIT_TARGET_H

#include "fit.h"

/* NULL: not given. */
struct mq_fit_request {
    const char *gpu;       /* "RTX 4090", "2x3090", "3090,3060", or "auto": this machine's */
    const char *vram;      /* "24GiB", "2x24GiB": instead, or of each card of `gpu` */
    const char *ram;       /* of the host */
    const char *bandwidth; /* "936", "936,360": GB/s */
    const char *runtime;   /* the first of the table */
    const char *kv;        /* of its cache; f16 */
    bool no_flash_attention;
    const char *dash; /* before these names in messages: "--", or "" */
};

moeq_status mq_fit_request_read(const struct mq_fit_request *request, struct mq_fit_target *target,
                                const struct mq_kv_kind **kv, moeq_error *err);

#endif
