package edge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// ETag returns an entity tag that differs for different contents (RFC 9110 §8.8.3).
func ETag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// ServeContent serves bytes, or 304 if the client has them already.
func ServeContent(c *gin.Context, mediaType, cacheControl, etag string, content []byte) {
	c.Header("Content-Type", mediaType)
	c.Header("Cache-Control", cacheControl)
	c.Header("ETag", etag)
	c.Request.Header.Del("Range") // nobody needs a part of a document
	http.ServeContent(whole{c.Writer}, c.Request, "", time.Time{}, bytes.NewReader(content))
}

// whole is an [http.ResponseWriter] that does not offer parts. [http.ServeContent] would.
type whole struct{ http.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w whole) WriteHeader(status int) {
	w.Header().Del("Accept-Ranges")
	w.ResponseWriter.WriteHeader(status)
}
