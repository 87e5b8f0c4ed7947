package userfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"gatehouse.example/internal/auth"
)

// maxLine is in bytes. No account needs a hundredth of it.
const maxLine = 64 << 10

// Reader takes accounts from a file one line at a time. No account has a line break in it, so one
// bad line spoils no other: not if it is cut, or too long, or has a quotation mark too many. A
// Reader needs the memory of one line.
type Reader struct {
	in     *bufio.Reader
	number int // of the last line that was read
	parse  func(line []byte, whole bool) (auth.UserRecord, error)
}

// lineError is what is wrong with one line. It does not quote the line.
type lineError string

func (e lineError) Error() string { return string(e) }

const (
	errLong    lineError = "is longer than 64 KiB"
	errJSON    lineError = "is no JSON object"
	errMembers lineError = "has a member that is unknown or there twice; there may be username, password_hash, disabled, roles, created_at, " +
		"must_change_password, password_expires_at, email, email_verified, verify_until"
	errNoEnd lineError = "has no line break at its end: the file may have been cut off there"
)

// NewReader reads the head of the file: of CSV, the names of the columns. Its errors are about the
// whole file.
func NewReader(in io.Reader, format Format) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, maxLine)}
	if mark, _ := r.in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) { // spreadsheets write one
		_, _ = r.in.Discard(len(mark))
	}
	if format == "" {
		format = CSV
		if first, err := r.in.Peek(1); err != nil || bytes.ContainsAny(first, "{[ \t\r\n") {
			format = JSONLines
		}
	}
	if format == JSONLines {
		r.parse = parseJSON
		return r, nil
	}
	line, _, err := r.line()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	if r.parse, err = csvParser(line); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	return r, nil
}

// All yields every line that is not blank. An error is about the file, and ends the lines.
func (r *Reader) All(yield func(auth.ImportLine, error) bool) {
	for {
		line, whole, err := r.line()
		if errors.Is(err, io.EOF) {
			return
		}
		read := auth.ImportLine{Number: r.number}
		if err == nil {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			read.UserRecord, err = r.parse(line, whole)
		}
		if problem, ok := errors.AsType[lineError](err); ok {
			read.Problem, err = problem.Error(), nil
		}
		if !yield(read, err) || err != nil {
			return
		}
	}
}

// line reads up to the next line break. The line is whole if there was one. It is good until the
// next call. A line that is too long is skipped.
func (r *Reader) line() (line []byte, whole bool, err error) {
	line, err = r.in.ReadSlice('\n')
	r.number++
	long := errors.Is(err, bufio.ErrBufferFull)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.in.ReadSlice('\n')
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, false, err
	case long:
		return nil, false, errLong
	case len(line) == 0:
		return nil, false, io.EOF
	}
	body, whole := bytes.CutSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(body, []byte("\r")), whole, nil
}

// parseJSON refuses unknown members: a misspelt one would be left out without a word. An object
// needs no line break at its end, since it shows by itself whether it was cut off.
func parseJSON(line []byte, _ bool) (auth.UserRecord, error) {
	var a account
	err := json.Unmarshal(line, &a, json.RejectUnknownMembers(true))
	if err != nil {
		return auth.UserRecord{}, explainJSON(err) // err may quote the line
	}
	for _, needed := range []struct {
		name  string
		value *string
	}{{"username", a.Username}, {"password_hash", a.PasswordHash}} {
		if needed.value == nil {
			return auth.UserRecord{}, lineError("has no " + needed.name)
		}
	}
	r := auth.UserRecord{Username: *a.Username, PasswordHash: *a.PasswordHash, Disabled: a.Disabled, Roles: a.Roles,
		MustChangePassword: a.MustChangePassword, PasswordExpiresAt: (*time.Time)(a.PasswordExpiresAt),
		EmailVerified: a.EmailVerified, VerifyUntil: (*time.Time)(a.VerifyUntil)}
	if a.Email != nil {
		r.Email = *a.Email
	}
	if a.CreatedAt != nil {
		r.CreatedAt = time.Time(*a.CreatedAt)
	}
	return r, nil
}

func explainJSON(err error) error {
	semantic, ok := errors.AsType[*json.SemanticError](err)
	switch {
	case errors.Is(err, json.ErrUnknownName), errors.Is(err, jsontext.ErrDuplicateName):
		return errMembers
	case !ok || semantic.JSONPointer == "":
		return errJSON
	}
	member, _, _ := strings.Cut(strings.TrimPrefix(string(semantic.JSONPointer), "/"), "/")
	return wrongValue(member)
}

// wrongValue is for a field with a value that cannot be read.
func wrongValue(column string) error {
	const boolean, moment = "true or false", "a time with an offset, like 2006-01-02T15:04:05Z or 2006-01-02 15:04:05+00"
	is := map[string]string{
		"disabled": boolean, "roles": "a list of names", "created_at": moment, "must_change_password": boolean, "password_expires_at": moment,
		"email_verified": boolean, "verify_until": moment,
	}[column]
	if is == "" {
		is = "a string"
	}
	return lineError(column + " is not " + is)
}
