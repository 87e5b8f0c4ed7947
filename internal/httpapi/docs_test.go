package httpapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/html"

	"gatehouse.example/api"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/httpapi"
)

// docsHandler is the public port without rules behind it, which is enough for the contract's
// routes.
func docsHandler(t *testing.T) http.Handler {
	t.Helper()
	metrics := prometheus.NewRegistry()
	outermost, err := edge.New(edge.Options{
		Log: slog.New(slog.DiscardHandler), Metrics: metrics, RequestTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Options{Edge: outermost, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	return outermost.Serve(api.Fallbacks(), api.Routes()...)
}

func docsGet(
	t *testing.T, handler http.Handler, method, path string, header http.Header,
) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for name, values := range header {
		request.Header[name] = values
	}
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)
	return response
}

// docsElements is what a browser finds in the page.
type docsElements struct {
	references      []string // every src and href
	scripts, styles []string // the text of inline elements
	handlers        []string // attributes that hold code or style
}

func parseDocs(t *testing.T, page []byte) docsElements {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var found docsElements
	for node := range root.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		external := false
		for _, attribute := range node.Attr {
			switch {
			case attribute.Key == "src" || attribute.Key == "href":
				external = true
				found.references = append(found.references, attribute.Val)
			case attribute.Key == "style" || strings.HasPrefix(attribute.Key, "on"):
				found.handlers = append(found.handlers, attribute.Key)
			}
		}
		switch {
		case node.Data == "script" && !external:
			found.scripts = append(found.scripts, node.FirstChild.Data)
		case node.Data == "style":
			found.styles = append(found.styles, node.FirstChild.Data)
		}
	}
	return found
}

func TestDocsPageNeedsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	handler := docsHandler(t)
	page := docsGet(t, handler, http.MethodGet, "/docs", nil)
	if page.Code != http.StatusOK {
		t.Fatalf("status %d: %s", page.Code, page.Body)
	}
	references := parseDocs(t, page.Body.Bytes()).references
	if len(references) < 3 {
		t.Fatalf("references %q: want a style sheet and two scripts at least", references)
	}
	mediaTypes := map[string]string{".js": "javascript", ".css": "text/css", ".png": "image/png"}
	for _, reference := range references {
		if !strings.HasPrefix(reference, "/docs/") {
			t.Errorf("the page loads %s, which is not of this service", reference)
			continue
		}
		asset := docsGet(t, handler, http.MethodGet, reference, nil)
		if asset.Code != http.StatusOK || asset.Body.Len() == 0 {
			t.Errorf("%s: status %d with %d bytes", reference, asset.Code, asset.Body.Len())
		}
		want := mediaTypes[reference[strings.LastIndex(reference, "."):]]
		if got := asset.Header().Get("Content-Type"); want == "" || !strings.Contains(got, want) {
			t.Errorf("%s: Content-Type %q, want %s: a browser under nosniff ignores it", reference,
				got, want)
		}
		if got := asset.Header().Get("Cache-Control"); !strings.Contains(got, "max-age=") {
			t.Errorf("%s: Cache-Control %q: half a megabyte is sent at each visit", reference, got)
		}
	}
}

// A page whose inline code is not admitted stays blank. A policy that admits other code protects
// nobody.
func TestDocsPolicyAdmitsTheInlineCodeOfThePageAndNoOther(t *testing.T) {
	t.Parallel()
	page := docsGet(t, docsHandler(t), http.MethodGet, "/docs", nil)
	elements := parseDocs(t, page.Body.Bytes())
	if len(elements.handlers) > 0 {
		t.Errorf("attributes %q hold code or style that no hash can admit", elements.handlers)
	}
	policy := map[string][]string{}
	for directive := range strings.SplitSeq(page.Header().Get("Content-Security-Policy"), ";") {
		fields := strings.Fields(directive)
		policy[fields[0]] = fields[1:]
	}
	for directive, want := range map[string][]string{
		"default-src":     {"'none'"},
		"script-src":      append([]string{"'self'"}, hashSources(elements.scripts)...),
		"style-src":       append([]string{"'self'"}, hashSources(elements.styles)...),
		"img-src":         {"'self'", "data:"},
		"connect-src":     {"'self'"},
		"base-uri":        {"'none'"},
		"form-action":     {"'none'"},
		"frame-ancestors": {"'none'"},
	} {
		if !slices.Equal(policy[directive], want) {
			t.Errorf("%s is %q, want %q", directive, policy[directive], want)
		}
		delete(policy, directive)
	}
	if len(policy) > 0 {
		t.Errorf("unexpected directives %q", policy)
	}
}

// The code of a login is in the URL of this page. A policy that admits other scripts, or a cache
// that keeps the URL, gives it away; a page whose own script is not admitted hands it to nobody.
func TestThePageThatALoginAtTheDocsComesBackToGivesTheCodeToNobodyElse(t *testing.T) {
	t.Parallel()
	answer := docsGet(t, docsHandler(t), http.MethodGet, "/docs/oauth2-redirect.html?code=x&state=y", nil)
	elements := parseDocs(t, answer.Body.Bytes())
	if answer.Code != http.StatusOK || len(elements.references) > 0 || len(elements.handlers) > 0 ||
		len(elements.scripts) != 1 {
		t.Fatalf("%d %+v", answer.Code, elements)
	}
	policy := answer.Header().Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'; ", "script-src 'self' " + hashSources(elements.scripts)[0] + ";",
		"form-action 'none'", "frame-ancestors 'none'",
	} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	if got := answer.Header(); got.Get("Cache-Control") != "no-store" ||
		got.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%v", got)
	}
}

func hashSources(texts []string) []string {
	sources := make([]string, len(texts))
	for n, text := range texts {
		sum := sha256.Sum256([]byte(text))
		sources[n] = "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return sources
}

func TestDocsServesNoFileThatThePageDoesNotLoad(t *testing.T) {
	t.Parallel()
	handler := docsHandler(t)
	for _, path := range []string{
		"/docs/index.html", "/docs/oauth2-redirect.html.gz", "/docs/swagger-ui.js",
		"/docs/swagger-ui.css.gz",
		"/docs/../docs.go", "/docs/%2e%2e/docs.go",
	} {
		if got := docsGet(t, handler, http.MethodGet, path, nil).Code; got != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", path, got)
		}
	}
	page := docsGet(t, handler, http.MethodGet, "/docs", nil).Body.String()
	for _, path := range []string{"/docs/", "/docs/?proxy=http://127.0.0.1/"} {
		if got := docsGet(t, handler, http.MethodGet, path, nil); got.Code != http.StatusOK ||
			got.Body.String() != page {
			t.Errorf("GET %s: status %d, want the page", path, got.Code)
		}
	}
}

// A client that is offered parts, and then gets the whole, assembles the document wrongly, or
// starts again for ever.
func TestPartsAreOfferedOnlyWhereThereAreSome(t *testing.T) {
	t.Parallel()
	handler := docsHandler(t)
	paths := []string{"/docs", "/openapi.json", "/openapi.yaml",
		"/.well-known/oauth-authorization-server"}
	paths = append(paths,
		parseDocs(t, docsGet(t, handler, http.MethodGet, "/docs", nil).Body.Bytes()).references...)
	for _, path := range paths {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			part := docsGet(t, handler, method, path, http.Header{"Range": {"bytes=0-9"}})
			offered := docsGet(t, handler, method, path,
				nil).Header().Get("Accept-Ranges") == "bytes"
			if gives := part.Code == http.StatusPartialContent; gives != offered {
				t.Errorf("%s %s: offered %v, given %v (%d)", method, path, offered, gives,
					part.Code)
			}
			if got := part.Header().Get("Accept-Ranges"); part.Code == http.StatusOK && got != "" {
				t.Errorf("%s %s: the whole was sent, with Accept-Ranges %q", method, path, got)
			}
		}
	}
}

func TestContractIsServedAsItIsEmbedded(t *testing.T) {
	t.Parallel()
	handler := docsHandler(t)
	asYAML, asJSON, err := api.Service{}.Contract()
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []struct {
		path, mediaType string
		content         []byte
	}{
		{"/openapi.json", "application/json; charset=utf-8", asJSON},
		{"/openapi.yaml", "application/yaml; charset=utf-8", asYAML},
	} {
		got := docsGet(t, handler, http.MethodGet, document.path, nil)
		if got.Code != http.StatusOK || !bytes.Equal(got.Body.Bytes(), document.content) {
			t.Errorf("%s: status %d with other content", document.path, got.Code)
		}
		if mediaType := got.Header().Get("Content-Type"); mediaType != document.mediaType {
			t.Errorf("%s: Content-Type %q, want %q", document.path, mediaType, document.mediaType)
		}
		again := docsGet(t, handler, http.MethodGet, document.path,
			http.Header{"If-None-Match": got.Header()["Etag"]})
		if again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s: status %d with %d bytes for a copy that is current", document.path,
				again.Code, again.Body.Len())
		}
		stale := docsGet(t, handler, http.MethodGet, document.path,
			http.Header{"If-None-Match": {`"other"`}})
		if stale.Code != http.StatusOK {
			t.Errorf("%s: status %d for a copy that is stale", document.path, stale.Code)
		}
		head := docsGet(t, handler, http.MethodHead, document.path, nil)
		if head.Code != http.StatusOK || head.Body.Len() > 0 {
			t.Errorf("HEAD %s: status %d with %d bytes", document.path, head.Code, head.Body.Len())
		}
	}
}
