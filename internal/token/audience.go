package token

import (
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

// audience is an aud (RFC 7519 §4.1.3). A single one is written as a string: some libraries compare
// it with a string, and refuse an array. Strings and arrays are read.
type audience []string

// MarshalJSON implements json.Marshaler.
func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// UnmarshalJSON implements [json.Unmarshaler] for golang-jwt.
func (a *audience) UnmarshalJSON(text []byte) error {
	return (*jwt.ClaimStrings)(a).UnmarshalJSON(text)
}

// UnmarshalJSONFrom implements the UnmarshalerFrom of the strict and fast decoder.
func (a *audience) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	if from.PeekKind() != '"' {
		return jsonv2.UnmarshalDecode(from, (*[]string)(a))
	}
	var one string
	err := jsonv2.UnmarshalDecode(from, &one)
	*a = audience{one}
	return err
}

// commonClaims are the registered claims, with an aud that is written as [audience] says.
type commonClaims struct {
	jwt.RegisteredClaims
	Audience audience `json:"aud,omitempty"`
}

// GetAudience implements jwt.Claims.
func (c commonClaims) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings(c.Audience), nil
}
