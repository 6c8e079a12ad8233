/*
 * The names that IANA gives to ports. The table ships with the product, so a policy means the same on every host.
 */
#ifndef PORTPOLICY_IANA_H
#define PORTPOLICY_IANA_H

#include <stddef.h>
#include <stdint.h>

struct iana_service {
	const char *name;
	uint8_t protocol;
	uint16_t port;
};
extern const struct iana_service iana_services[]; /* sorted by name, protocol and port */
extern const size_t iana_service_count;

#endif
