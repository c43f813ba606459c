/* report_domains.h: the section on texts with names: how a level fares in each. */
#ifndef MQ_REPORT_DOMAINS_H
#define MQ_REPORT_DOMAINS_H

#include "report_doc.h"
#include "report_table.h"

/* Nothing where the document's texts have no names, or there is one. */
void mq_report_domains(const struct mq_page *page, const struct mq_report_table *table);

#endif
