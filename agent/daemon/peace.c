/*
 * Other firewalls on the same host.
 *
 * Every base chain of a hook sees every packet, and one that drops has the last word; so with two managers the stricter one wins,
 * and nobody who reads one policy knows why. Nothing is done about them: they are named.
 */
#include "agent/daemon/peace.h"
#include "portpolicy/foreign.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

static int add(struct concerns *concerns, const char *text)
{
	const char **more = text ? talloc_realloc(concerns, concerns->texts, const char *, concerns->count + 1) : NULL;
	if (!more)
		return -ENOMEM;
	concerns->texts = more;
	for (size_t i = 0; i < concerns->count; i++)
		if (!strcmp(more[i], text))
			return 0;
	more[concerns->count++] = text;
	return 0;
}

static bool has_chain(const struct foreign *foreign, const char *prefix)
{
	for (size_t i = 0; i < foreign->chain_count; i++)
		if (!strncmp(foreign->chains[i], prefix, strlen(prefix)))
			return true;
	return false;
}

/* Whose table is it?  Programs on top of iptables show in the chains that they make. */
static const char *manager(const struct foreign *foreign, const struct foreign_chain *chain)
{
	bool iptables = (!strcmp(chain->family, "ip") || !strcmp(chain->family, "ip6")) &&
			(!strcmp(chain->table, "filter") || !strcmp(chain->table, "nat"));
	if (!strcmp(chain->table, "firewalld"))
		return "firewalld";
	if (!iptables)
		return NULL;
	if (has_chain(foreign, "ufw"))
		return "ufw";
	if (has_chain(foreign, "DOCKER"))
		return "Docker";
	if (has_chain(foreign, "KUBE-"))
		return "Kubernetes";
	return has_chain(foreign, "f2b-") ? "fail2ban" : NULL;
}

static int add_foreign(struct concerns *concerns, const struct foreign *foreign, const struct foreign_chain *chain)
{
	const char *who = manager(foreign, chain);
	char *whose = who ? talloc_asprintf(concerns, " (%s)", who) : talloc_strdup(concerns, "");
	if (!whose)
		return -ENOMEM;
	if (chain->kind == FOREIGN_NAT)
		return add(concerns, talloc_asprintf(concerns,
					     "table %s %s%s translates addresses: rules see them after destination and before "
					     "source translation",
					     chain->family, chain->table, whose));
	return add(concerns, talloc_asprintf(concerns, "table %s %s%s filters too: what it drops, this policy cannot let through",
				     chain->family, chain->table, whose));
}

static bool switched_on(const char *path)
{
	FILE *file = fopen(path, "re");
	int value = file ? fgetc(file) : '0';
	if (file)
		fclose(file);
	return value > '0' && value <= '9';
}

static int add_forwarding(struct concerns *concerns, const struct policy *policy)
{
	if (!policy || policy->directions[DIRECTION_FORWARD].managed)
		return 0;
	if (!switched_on("/proc/sys/net/ipv4/ip_forward") && !switched_on("/proc/sys/net/ipv6/conf/all/forwarding"))
		return 0;
	return add(concerns, "this host forwards packets and `forward` is unmanaged: published container ports bypass `in`, "
			     "containers bypass `out`");
}

/* The iptables of old is not nf_tables: it shows only in /proc, where the tables in use are listed. */
static int add_legacy(struct concerns *concerns, const char *path, const char *what)
{
	FILE *file = fopen(path, "re");
	int first = file ? fgetc(file) : EOF;
	if (file)
		fclose(file);
	if (first == EOF)
		return 0;
	return add(concerns,
		talloc_asprintf(concerns, "%s-legacy has tables that filter or translate too: see `%s-legacy-save`", what, what));
}

static bool matters(const struct foreign_chain *chain, bool forwarding)
{
	if (chain->idle || chain->kind == FOREIGN_OTHER)
		return false;
	return chain->kind == FOREIGN_NAT || forwarding || !chain->forward_only;
}

int find_concerns(void *ctx, struct kernel *kernel, const char *own_table, const struct policy *policy, struct concerns **out)
{
	struct foreign *foreign;
	struct concerns *concerns = talloc_zero(ctx, struct concerns);
	int status = concerns ? kernel_foreign(concerns, kernel, own_table, &foreign) : -ENOMEM;
	bool forwarding = !policy || policy->directions[DIRECTION_FORWARD].managed;
	for (size_t i = 0; !status && i < foreign->base_count; i++)
		if (matters(&foreign->base[i], forwarding))
			status = add_foreign(concerns, foreign, &foreign->base[i]);
	if (!status)
		status = add_legacy(concerns, "/proc/net/ip_tables_names", "iptables");
	if (!status)
		status = add_legacy(concerns, "/proc/net/ip6_tables_names", "ip6tables");
	if (!status)
		status = add_forwarding(concerns, policy);
	if (status)
		talloc_free(concerns);
	else
		*out = concerns;
	return status;
}
