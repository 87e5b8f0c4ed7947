// Package ginverify has package verify's middleware for Gin.
package ginverify

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse.example/verify"
)

// Middleware is that of the Verifier. verify.FromContext(c.Request.Context()) says who sent a
// request.
func Middleware(v *verify.Verifier) gin.HandlerFunc { return wrap(v.Middleware) }

// RequireRole is that of package verify. It goes behind Middleware.
func RequireRole(role string) gin.HandlerFunc { return wrap(verify.RequireRole(role)) }

// RequirePermission is that of package verify. It goes behind Middleware.
func RequirePermission(permission string) gin.HandlerFunc {
	return wrap(verify.RequirePermission(permission))
}

// RequireACR is that of package verify. It goes behind Middleware.
func RequireACR(acr string) gin.HandlerFunc { return wrap(verify.RequireACR(acr)) }

// RequireFresh is that of package verify. It goes behind Middleware.
func RequireFresh(maxAge time.Duration) gin.HandlerFunc { return wrap(verify.RequireFresh(maxAge)) }

// RequireLogin is that of package verify. It goes behind Middleware.
func RequireLogin(acr string, maxAge time.Duration) gin.HandlerFunc {
	return wrap(verify.RequireLogin(acr, maxAge))
}

func wrap(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		letIn := false
		next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			letIn, c.Request = true, r
			c.Next()
		})
		if middleware(next).ServeHTTP(c.Writer, c.Request); !letIn {
			c.Abort()
		}
	}
}
