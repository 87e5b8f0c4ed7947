package userfile

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"gatehouse.example/internal/auth"
)

// Writer writes what a [Reader] reads.
type Writer struct {
	out    io.Writer
	format Format
}

// NewWriter writes the head of the file: of CSV, the names of the columns.
func NewWriter(out io.Writer, format Format) (*Writer, error) {
	w := &Writer{out, format}
	if format == CSV {
		return w, w.writeFields(Columns())
	}
	return w, nil
}

// Write writes one account.
func (w *Writer) Write(r auth.UserRecord) error {
	if w.format == CSV {
		return w.writeCSV(r)
	}
	var email *string
	if r.Email != "" {
		email = &r.Email
	}
	line, err := json.Marshal(account{
		&r.Username, &r.PasswordHash, r.Disabled, r.Roles, (*moment)(&r.CreatedAt), r.MustChangePassword, (*moment)(r.PasswordExpiresAt), email, r.EmailVerified, (*moment)(r.VerifyUntil),
	})
	if err != nil {
		return err
	}
	_, err = w.out.Write(append(line, '\n'))
	return err
}

func (w *Writer) writeCSV(r auth.UserRecord) error {
	return w.writeFields([]string{
		toCell(r.Username), r.PasswordHash, strconv.FormatBool(r.Disabled), strings.Join(r.Roles, " "), formatMoment(r.CreatedAt),
		strconv.FormatBool(r.MustChangePassword), toMoment(r.PasswordExpiresAt), toCell(r.Email), strconv.FormatBool(r.EmailVerified),
		toMoment(r.VerifyUntil),
	})
}

func toMoment(at *time.Time) string {
	if at == nil {
		return ""
	}
	return formatMoment(*at)
}

func (w *Writer) writeFields(fields []string) error {
	out := csv.NewWriter(w.out)
	_ = out.Write(fields) // Error has the error
	out.Flush()
	return out.Error()
}
