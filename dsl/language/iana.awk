# Turns the table of port names into C; see iana.h.
BEGIN {
	number["tcp"] = 6; number["udp"] = 17; number["sctp"] = 132
	print "#include \"dsl/language/iana.h\""
	print "const struct iana_service iana_services[] = {"
}
/^#/ || NF != 3 { next }
!($2 in number) || $3 !~ /^[0-9]+$/ || $3 > 65535 { print "iana-services.txt:" NR ": cannot be read" > "/dev/stderr"; exit 1 }
{ printf "\t{\"%s\", %d, %d},\n", $1, number[$2], $3 }
END {
	print "};"
	print "const size_t iana_service_count = sizeof iana_services / sizeof *iana_services;"
}
