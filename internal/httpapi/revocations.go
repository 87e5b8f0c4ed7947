package httpapi

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

const (
	maxCursors      = 16
	maxCursorLength = 64 // bytes
)

// getRevocations tells another service what was revoked since it last asked. Nearly always that is
// nothing, and the answer costs one comparison.
func (s *API) getRevocations(c *gin.Context) error {
	raw, err := bearer(c.Request)
	if err != nil {
		return err
	}
	set, service, err := s.Feed.For(raw)
	edge.NoteOf(c).Service = service
	if err != nil {
		return err
	}
	since := c.QueryArray("since")
	if !areCursors(since) {
		return auth.InputError{{Field: "since",
			Message: "must be at most 16 cursors from earlier answers"}}
	}
	c.Header("Cache-Control", "private, no-cache")
	c.Header("Gatehouse-Algorithms", strings.Join(s.Signer.Algorithms(), ", "))
	if current := etagOf(set.Cursor()); matches(c.Request.Header["If-None-Match"], current) {
		c.Header("ETag", current)
		edge.NoteOf(c).Routine = true // twice a second from each service
		c.Status(http.StatusNotModified)
		return nil
	}
	report, cursor := set.Since(since...)
	c.Header("ETag", etagOf(cursor))
	writeJSON(c, http.StatusOK, "application/json", report)
	return nil
}

// getRevocationFeed tells anybody what was revoked. The answer is signed, so it may come from a
// cache that nobody trusts.
func (s *API) getRevocationFeed(c *gin.Context) error {
	feed, err := s.Feed.Signed()
	if err != nil {
		return err
	}
	c.Header("Cache-Control", "public, max-age=1")
	edge.NoteOf(c).Routine = true // each second from each cache
	c.Data(http.StatusOK, "application/jwt", feed)
	return nil
}

func areCursors(texts []string) bool {
	for _, text := range texts {
		if len(text) > maxCursorLength {
			return false
		}
	}
	return len(texts) <= maxCursors
}

// etagOf makes a weak entity tag (RFC 9110 §8.8.1). Two reports with one cursor may differ in their
// order, and in what has expired.
func etagOf(cursor string) string { return `W/"` + cursor + `"` }

// matches reports whether If-None-Match names an entity tag, by the weak comparison (RFC 9110
// §13.1.2). The tag has no comma and no quote, so no part of another tag looks like it.
func matches(ifNoneMatch []string, etag string) bool {
	for _, list := range ifNoneMatch {
		for one := range strings.SplitSeq(list, ",") {
			if one = strings.Trim(one, " \t"); one == "*" ||
				strings.TrimPrefix(one, "W/") == strings.TrimPrefix(etag, "W/") {
				return true
			}
		}
	}
	return false
}
