package userfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse.example/internal/auth"
)

// csvParser makes a parser of the line that names the columns.
func csvParser(head []byte) (func([]byte, bool) (auth.UserRecord, error), error) {
	names, err := splitCSV(head, 0)
	if err != nil {
		return nil, errors.New("there must be the names of the columns: username,password_hash and the like")
	}
	for n, name := range names {
		if !slices.Contains(Columns(), name) || slices.Index(names, name) < n {
			return nil, fmt.Errorf("column %d is unknown or there twice; there may be %s", n+1, strings.Join(Columns(), ", "))
		}
	}
	for _, needed := range Columns()[:2] {
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

// formulaSigns begin a formula, which a spreadsheet runs. An apostrophe before the sign makes the
// cell text. It is written in CSV, and taken away when the file is read. A name that begins with an
// apostrophe and a sign, or with two apostrophes, gets one more, so that no name changes on the
// way.
const formulaSigns = "=+-@＝＋－＠\t\r"

func toCell(name string) string {
	behind, quoted := strings.CutPrefix(name, "'")
	if quoted && beginsWith(behind, formulaSigns+"'") || beginsWith(name, formulaSigns) {
		return "'" + name
	}
	return name
}

func fromCell(cell string) string {
	if behind, quoted := strings.CutPrefix(cell, "'"); quoted && beginsWith(behind, formulaSigns+"'") {
		return behind
	}
	return cell
}

func beginsWith(s, signs string) bool {
	first, size := utf8.DecodeRuneInString(s)
	return size > 0 && strings.ContainsRune(signs, first)
}

// setField is not ok if the value cannot be read. Databases write a boolean as t or 1.
func setField(r *auth.UserRecord, column, value string) (ok bool) {
	var err error
	switch {
	case column == "username":
		r.Username = fromCell(value)
	case column == "password_hash":
		r.PasswordHash = value
	case value == "": // as if the column were not there
	case column == "disabled":
		r.Disabled, err = strconv.ParseBool(value)
	case column == "roles":
		r.Roles = strings.Fields(value) // no name has a space in it
	case column == "created_at":
		r.CreatedAt, err = parseMoment(value)
	case column == "must_change_password":
		r.MustChangePassword, err = strconv.ParseBool(value)
	case column == "email":
		r.Email = fromCell(value)
	case column == "email_verified":
		r.EmailVerified, err = strconv.ParseBool(value)
	case column == "password_expires_at":
		r.PasswordExpiresAt, err = fromMoment(value)
	case column == "verify_until":
		r.VerifyUntil, err = fromMoment(value)
	}
	return err == nil
}

func fromMoment(value string) (*time.Time, error) {
	at, err := parseMoment(value)
	return &at, err
}
