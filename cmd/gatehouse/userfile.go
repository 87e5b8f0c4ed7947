package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"gatehouse/internal/auth"
)

// maxLine is in bytes; no account needs a hundredth of it.
const maxLine = 64 << 10

// fileFormat is the flag by which import and export are told the form of their file.
type fileFormat struct {
	Format string `enum:"auto,jsonl,csv" default:"auto" help:"Form of the file: jsonl (JSON lines), csv, or auto: by its name, else by what is in it, else jsonl."`
}

// byName is the form that is asked for, or that a file's name tells; empty if neither.
func (f fileFormat) byName(name string) string {
	if f.Format != "auto" {
		return f.Format
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return "csv"
	case ".jsonl", ".ndjson", ".json":
		return "jsonl"
	}
	return ""
}

// columns are the fields of an account, in the order in which an export writes them. The first two are needed.
func columns() []string {
	return []string{"username", "password_hash", "disabled", "roles", "created_at", "must_change_password", "password_expires_at"}
}

// account is an account as JSON.
type account struct {
	Username     *string    `json:"username"`
	PasswordHash *string    `json:"password_hash"`
	Disabled     bool       `json:"disabled"`
	Roles        []string   `json:"roles"`
	CreatedAt    *time.Time `json:"created_at"`

	MustChangePassword bool       `json:"must_change_password"`
	PasswordExpiresAt  *time.Time `json:"password_expires_at"`
}

// accountReader takes accounts from a file one line at a time: no account has a line break in it, so that one line, cut
// or too long or with a quotation mark too many, can spoil no other. Its memory is that of one line.
type accountReader struct {
	in     *bufio.Reader
	number int // of the last line that was read
	parse  func(line []byte, whole bool) (auth.UserRecord, error)
}

// lineError is what is wrong with one line, in words that do not quote it.
type lineError string

func (e lineError) Error() string { return string(e) }

const (
	errLong    lineError = "is longer than 64 KiB"
	errJSON    lineError = "is no JSON object"
	errMembers lineError = "has a member that is unknown or there twice; there may be username, password_hash, disabled, roles, created_at, " +
		"must_change_password, password_expires_at"
	errNoEnd lineError = "has no line break at its end: the file may have been cut off there"
)

// newAccountReader reads the head of the file: for CSV, the names of the columns. Its errors are of the whole file.
func newAccountReader(in io.Reader, format string) (*accountReader, error) {
	r := &accountReader{in: bufio.NewReaderSize(in, maxLine)}
	if mark, _ := r.in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) { // spreadsheets write one
		_, _ = r.in.Discard(len(mark))
	}
	if format == "" {
		format = "csv"
		if first, err := r.in.Peek(1); err != nil || bytes.ContainsAny(first, "{[ \t\r\n") {
			format = "jsonl"
		}
	}
	if format == "jsonl" {
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

// all is every line but blank ones.
func (r *accountReader) all(yield func(auth.ImportLine, error) bool) {
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

// line reads up to the next line break, and tells whether there was one. What it returns is good until the next call.
// One that is too long is read over.
func (r *accountReader) line() (line []byte, whole bool, err error) {
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

// parseJSON is strict for the reasons of httpapi's readJSON. An object has an end of its own, so it needs no line break.
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
		MustChangePassword: a.MustChangePassword, PasswordExpiresAt: a.PasswordExpiresAt}
	if a.CreatedAt != nil {
		r.CreatedAt = *a.CreatedAt
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
	const boolean, moment = "true or false", "a time of RFC 3339, like 2006-01-02T15:04:05Z"
	is := map[string]string{
		"disabled": boolean, "roles": "a list of names", "created_at": moment, "must_change_password": boolean, "password_expires_at": moment,
	}[column]
	if is == "" {
		is = "a string"
	}
	return lineError(column + " is not " + is)
}

// csvParser makes a parser of the line that names the columns.
func csvParser(head []byte) (func([]byte, bool) (auth.UserRecord, error), error) {
	names, err := splitCSV(head, 0)
	if err != nil {
		return nil, errors.New("there must be the names of the columns: username,password_hash and the like")
	}
	for n, name := range names {
		if !slices.Contains(columns(), name) || slices.Index(names, name) < n {
			return nil, fmt.Errorf("column %d is unknown or there twice; there may be %s", n+1, strings.Join(columns(), ", "))
		}
	}
	for _, needed := range columns()[:2] {
		if !slices.Contains(names, needed) {
			return nil, fmt.Errorf("there is no column %s", needed)
		}
	}
	return func(line []byte, whole bool) (auth.UserRecord, error) {
		if !whole { // half a hash, or an account that is no longer disabled
			return auth.UserRecord{}, errNoEnd
		}
		fields, err := splitCSV(line, len(names))
		if err != nil {
			return auth.UserRecord{}, lineError(fmt.Sprintf("is not one of CSV with %d fields", len(names)))
		}
		var r auth.UserRecord
		for n, name := range names {
			if !setField(&r, name, fields[n]) {
				return auth.UserRecord{}, wrongValue(name)
			}
		}
		return r, nil
	}, nil
}

func splitCSV(line []byte, fields int) ([]string, error) {
	r := csv.NewReader(bytes.NewReader(line))
	r.FieldsPerRecord = fields
	return r.Read()
}

// setField tells whether it could. Databases write a boolean as t or 1.
func setField(r *auth.UserRecord, column, value string) (ok bool) {
	var err error
	switch {
	case column == "username":
		r.Username = value
	case column == "password_hash":
		r.PasswordHash = value
	case value == "": // as if the column were not there
	case column == "disabled":
		r.Disabled, err = strconv.ParseBool(value)
	case column == "roles":
		r.Roles = strings.Fields(value) // no name has a space in it
	case column == "created_at":
		r.CreatedAt, err = time.Parse(time.RFC3339, value)
	case column == "must_change_password":
		r.MustChangePassword, err = strconv.ParseBool(value)
	case column == "password_expires_at":
		var at time.Time
		at, err = time.Parse(time.RFC3339, value)
		r.PasswordExpiresAt = &at
	}
	return err == nil
}

// accountWriter writes what accountReader reads.
type accountWriter func(auth.UserRecord) error

func newAccountWriter(out io.Writer, format string) (write accountWriter, err error) {
	if format != "csv" {
		return func(r auth.UserRecord) error {
			at := r.CreatedAt.UTC()
			if r.PasswordExpiresAt != nil {
				expires := r.PasswordExpiresAt.UTC()
				r.PasswordExpiresAt = &expires
			}
			line, err := json.Marshal(account{&r.Username, &r.PasswordHash, r.Disabled, r.Roles, &at, r.MustChangePassword, r.PasswordExpiresAt})
			if err != nil {
				return err
			}
			_, err = out.Write(append(line, '\n'))
			return err
		}, nil
	}
	writeFields := func(fields []string) error {
		w := csv.NewWriter(out)
		_ = w.Write(fields)
		w.Flush()
		return w.Error()
	}
	return func(r auth.UserRecord) error {
		expires := ""
		if r.PasswordExpiresAt != nil {
			expires = r.PasswordExpiresAt.UTC().Format(time.RFC3339Nano)
		}
		return writeFields([]string{
			r.Username, r.PasswordHash, strconv.FormatBool(r.Disabled), strings.Join(r.Roles, " "), r.CreatedAt.UTC().Format(time.RFC3339Nano),
			strconv.FormatBool(r.MustChangePassword), expires,
		})
	}, writeFields(columns())
}
