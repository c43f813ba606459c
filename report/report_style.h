/* report_style.h: the style sheet of the HTML report. */
#ifndef MQ_REPORT_STYLE_H
#define MQ_REPORT_STYLE_H

extern const char mq_report_style[];

#endif
