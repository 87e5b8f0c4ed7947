package db

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/doctor"
)

// Server asks the server about itself and about the role of the connection, and looks at the
// connection. Its clock is compared with the given one.
func (d *DB) Server(ctx context.Context, clock func() time.Time) (s doctor.Server, err error) {
	err = d.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		asked := clock()
		row, err := sqlcgen.New(conn).AskServer(ctx)
		s = doctor.Server{
			Version: int(row.Version), Isolation: row.Isolation, Connections: int(row.Connections),
			MaxConns: int(d.pool.Config().MaxConns), Ahead: ahead(row.Clock, asked, clock()),
			Role: doctor.Role{Superuser: row.Superuser, MayChange: row.MayChange, MayCreate: row.MayCreate},
		}
		s.Local, s.TLS, s.Verified = privacy(conn.Conn().PgConn(), conn.Conn().Config().TLSConfig)
		return err
	})
	return s, translate("ask server", err)
}

// ahead is how much later than ours a clock was that was read between two times of ours.
func ahead(read, before, after time.Time) time.Duration {
	switch {
	case read.After(after):
		return read.Sub(after)
	case read.Before(before):
		return read.Sub(before)
	}
	return 0
}

// privacy tells whether a connection stays on this machine, whether it is encrypted, and whether
// the server has proved whose it is.
func privacy(conn *pgconn.PgConn, config *tls.Config) (local, encrypted, verified bool) {
	address, isTCP := conn.Conn().RemoteAddr().(*net.TCPAddr)
	_, encrypted = conn.Conn().(*tls.Conn)
	verified = config != nil && (!config.InsecureSkipVerify || config.VerifyPeerCertificate != nil)
	return !isTCP || address.IP.IsLoopback(), encrypted, verified && encrypted
}

// Growth finds what grows. Rows of no use are those that are older than upkeep keeps them.
func (d *DB) Growth(ctx context.Context, keepSessions, keepRevocations time.Duration) (doctor.Growth, error) {
	row, err := d.queries.AskGrowth(ctx, sqlcgen.AskGrowthParams{
		SessionsKeptSeconds: keepSessions.Seconds(), RevocationsKeptSeconds: keepRevocations.Seconds(), Most: doctor.MostOverdue,
	})
	if err != nil {
		return doctor.Growth{}, translate("ask growth", err)
	}
	month, err := time.Parse("2006_01", row.LastMonth)
	if err != nil {
		return doctor.Growth{}, fmt.Errorf("db: the audit log has no partition: %w", err)
	}
	return doctor.Growth{Bytes: row.Bytes, RoomUntil: month.AddDate(0, 1, 0), Overdue: int(row.Overdue)}, nil
}
