package doctor

import (
	"fmt"
	"time"
)

// Server is what a PostgreSQL says of itself, and of a replica's connection to it.
type Server struct {
	Version     int    // as in server_version_num: 150004 is 15.4
	Isolation   string // of a transaction that asks for none
	Connections int    // that all roles without special rights may have together
	MaxConns    int    // of the pool of one replica
	// Ahead is how much the server's clock is ahead of ours at least. It is 0 if the time that the
	// answer took explains the difference.
	Ahead time.Duration
	Role  Role
	// Local is true if nothing leaves this machine.
	Local         bool
	TLS, Verified bool // whether the connection is encrypted, and whose certificate it is is known
}

// Role is what the role of a replica may do.
type Role struct {
	Superuser bool
	MayChange bool // the audit log
	MayCreate bool // objects in the schema, or schemas in the database
}

const oldestPostgreSQL = 14

// endOfSupport is when a version of PostgreSQL gets no more fixes
// (https://www.postgresql.org/support/versioning/). The zero time is that of a newer version.
func endOfSupport(major int) time.Time {
	day := func(year, day int) time.Time { return time.Date(year, 11, day, 0, 0, 0, 0, time.UTC) }
	return map[int]time.Time{
		14: day(2026, 12), 15: day(2027, 11), 16: day(2028, 9), 17: day(2029, 8), 18: day(2030, 14),
	}[major]
}

// PostgreSQL judges the version of the server.
func PostgreSQL(s Server, now time.Time) Finding {
	major := s.Version / 10000
	name := fmt.Sprintf("PostgreSQL %d.%d", major, s.Version%10000)
	end := endOfSupport(major)
	switch {
	case major < oldestPostgreSQL:
		return Failed(name+" is too old",
			fmt.Sprintf("upgrade to PostgreSQL %d or newer", oldestPostgreSQL))
	case !end.IsZero() && now.After(end):
		return Warned(name+" gets no more fixes since "+end.Format(time.DateOnly),
			"upgrade to a newer version of PostgreSQL")
	}
	return Good("%s", name)
}

// Isolation judges what a transaction sees of others. A replica sets it for each session. A pooler
// may hand it others.
func Isolation(s Server) Finding {
	if s.Isolation != "read committed" {
		return Failed("transactions are "+s.Isolation+", where the statements wait for read committed",
			"set it by connect_query, as deploy/pgbouncer.ini does")
	}
	return Good("transactions are read committed")
}

// Clock judges how far the server's clock and ours are apart.
func Clock(s Server) Finding {
	found := fmt.Sprintf("the clocks of this machine and of the database are at least %v apart",
		s.Ahead.Abs().Round(100*time.Millisecond))
	const next = "set both clocks by NTP"
	switch {
	case s.Ahead.Abs() > 5*time.Second:
		return Failed(found, next)
	case s.Ahead.Abs() > time.Second:
		return Warned(found, next)
	}
	return Good("the clocks of this machine and of the database agree within a second")
}

// Encryption judges who could read what goes to the server.
func Encryption(s Server) Finding {
	switch {
	case s.Local:
		return Good("the server is on this machine")
	case !s.TLS:
		return Warned("the connection is not encrypted, so whoever is on the way reads and changes it",
			"add sslmode=verify-full to DATABASE_URL, unless the network between is yours alone")
	case !s.Verified:
		return Warned("the connection is encrypted, but nothing proves whose server it leads to",
			"add sslmode=verify-full to DATABASE_URL, and sslrootcert if the certificate is by a CA of your own")
	}
	return Good("TLS with a certificate that was verified")
}

// beside are the connections of a replica that are not of its pool.
const beside = 2

// Connections judges how many replicas the server has room for.
func Connections(s Server) Finding {
	each := s.MaxConns + beside
	found := fmt.Sprintf("a replica takes up to %d connections, and the server has %d", each, s.Connections)
	const next = "lower DATABASE_MAX_CONNS, or raise max_connections of PostgreSQL"
	switch replicas := s.Connections / each; {
	case replicas < 1:
		return Failed(found, next)
	case replicas < 2:
		return Warned(found+", so there is no room for a second one", next)
	default:
		return Good("%s, which is enough for %d replicas", found, replicas)
	}
}

// Rights judges what whoever breaks into a replica could do to the database.
func Rights(r Role) Finding {
	const role = "the service's role of PostgreSQL "
	switch {
	case r.Superuser:
		return Warned(role+"is a superuser, who may change the audit log and much else",
			"see SERVICE_ROLE of gatehouse migrate")
	case r.MayChange:
		return Warned(role+"may change the audit log", "see SERVICE_ROLE of gatehouse migrate")
	case r.MayCreate:
		return Warned(role+"may create objects in the schema or the database, where the owner could run into them",
			"run gatehouse migrate with SERVICE_ROLE, and as the schema's owner REVOKE CREATE ON SCHEMA … FROM PUBLIC if that does not help")
	}
	return Good("the service's role of PostgreSQL may add to the audit log, and create nothing")
}

// Priority judges whether the threads that hash passwords give way to requests. Some sandboxes
// forbid setpriority(2).
func Priority(low, threads int) Finding {
	if low < threads {
		return Warned(
			fmt.Sprintf("passwords are hashed at normal priority by %d of %d threads, so logins can slow other requests",
				threads-low, threads),
			"have the sandbox allow setpriority(2)")
	}
	return Good("passwords are hashed at low priority")
}
