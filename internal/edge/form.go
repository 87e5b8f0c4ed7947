package edge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

// maxBody is the greatest size of a request's body, in bytes.
const maxBody = 64 << 10

const (
	urlEncoded    = "application/x-www-form-urlencoded" // RFC 6749 §3.2
	multipartForm = "multipart/form-data"               // RFC 7578: a browser sends FormData so
)

// ReadForm reads the parameters of a form. A parameter that comes twice is refused, unless it is
// one of the lists: the values of a list come with spaces between. One without a value counts as
// absent. Parameters in the URL are ignored, because a password there would be in logs.
func ReadForm(c *gin.Context, lists ...string) (map[string]string, error) {
	body, mediaType, err := ReadBody(c, urlEncoded, multipartForm)
	if err != nil {
		return nil, err
	}
	values, err := parseForm(body, mediaType)
	if err != nil {
		return nil, err
	}
	form := make(map[string]string, len(values))
	for name, value := range values {
		if len(value) > 1 && !slices.Contains(lists, name) {
			return nil, ErrInvalidRequest
		}
		form[name] = strings.Join(value, " ")
		if !utf8.ValidString(name) || !utf8.ValidString(form[name]) {
			return nil, ErrMalformed
		}
	}
	return form, nil
}

func parseForm(body []byte, mediaType MediaType) (url.Values, error) {
	if mediaType.Name == multipartForm {
		return parseMultipart(body, mediaType.params["boundary"])
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, ErrMalformed // the error quotes the body
	}
	return values, nil
}

// parseMultipart reads a form whose parts are texts in UTF-8, and no files. A form without its end
// is refused, because a password may have been cut off.
func parseMultipart(body []byte, boundary string) (url.Values, error) {
	if boundary == "" {
		return nil, ErrMalformed
	}
	values, parts := url.Values{}, multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF { // a wrapped io.EOF means that the last boundary is missing
			return values, checkCharset(values.Get("_charset_")) // RFC 7578 §4.6
		}
		if err != nil {
			return nil, ErrMalformed // the error may quote the body
		}
		name, err := nameOfPart(part.Header)
		if err != nil {
			return nil, err
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, ErrMalformed
		}
		values.Add(name, string(value))
	}
}

// nameOfPart returns the name of a part. It refuses a part that cannot be a parameter (RFC 7578
// §4.2, §4.4, §4.7).
func nameOfPart(h textproto.MIMEHeader) (string, error) {
	disposition, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	_, isFile := params["filename"]
	switch {
	case len(h["Content-Disposition"]) != 1 || err != nil || disposition != "form-data" ||
		params["name"] == "":
		return "", ErrMalformed
	case isFile:
		return "", ErrFile
	}
	if len(h["Content-Type"]) > 0 {
		kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
		if len(h["Content-Type"]) > 1 || err != nil || kind != "text/plain" {
			return "", ErrFile
		}
		if err := checkCharset(params["charset"]); err != nil {
			return "", err
		}
	}
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "", "7bit", "8bit", "binary":
		return params["name"], nil
	}
	return "", ErrMalformed
}

// MediaType is the media type of a body.
type MediaType struct {
	Name   string
	params map[string]string
}

// ReadBody reads a whole body of one of the accepted media types. The errors are [ErrMediaType],
// [ErrTooLarge] and [ErrMalformed].
func ReadBody(c *gin.Context, accepted ...string) ([]byte, MediaType, error) {
	got, err := acceptedType(c.GetHeader("Content-Type"), accepted)
	if err != nil {
		return nil, MediaType{}, err
	}
	if c.GetHeader("Content-Encoding") != "" {
		return nil, MediaType{},
			&unsupportedError{"The request body must not be compressed", "Accept-Encoding",
				"identity"}
	}
	body, err := readBounded(c)
	return body, got, err
}

func acceptedType(contentType string, accepted []string) (MediaType, error) {
	name, params, err := mime.ParseMediaType(contentType)
	for _, one := range accepted {
		if err == nil && name == one {
			return MediaType{name, params}, checkCharset(params["charset"])
		}
	}
	return MediaType{}, &unsupportedError{
		"The media type of the request body must be " + strings.Join(accepted, " or "), "Accept",
		strings.Join(accepted, ", "),
	}
}

// checkCharset accepts UTF-8 and its subset US-ASCII. There is no header in which an answer could
// name the wanted charset (RFC 9110 §12.5.2).
func checkCharset(charset string) error {
	if charset == "" || strings.EqualFold(charset, "utf-8") ||
		strings.EqualFold(charset, "us-ascii") {
		return nil
	}
	return &unsupportedError{"The request body must be in UTF-8", "", ""}
}

// unsupportedError is an ErrMediaType that says what is wanted, in words and in a header (RFC 9110
// §15.5.16).
type unsupportedError struct{ detail, header, wanted string }

func (e *unsupportedError) Error() string { return fmt.Sprintf("%v: %s", ErrMediaType, e.detail) }

func (e *unsupportedError) Unwrap() error { return ErrMediaType }

// asked adds what is wanted to the answer.
func asked(c *gin.Context, a *Answer, err error) {
	unsupported, ok := errors.AsType[*unsupportedError](err)
	if !ok {
		return
	}
	a.Detail = unsupported.detail
	if unsupported.header != "" {
		c.Header(unsupported.header, unsupported.wanted)
	}
}

// readBounded reads a whole body. The errors are [ErrTooLarge] and [ErrMalformed].
func readBounded(c *gin.Context) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, ErrTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return body, nil
}
