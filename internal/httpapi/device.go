package httpapi

import (
	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

// deviceHeader carries the device token in both directions. It is for clients that keep no
// cookies.
const deviceHeader = "Gatehouse-Device"

// loginCallerOf is callerOf with the device tokens that the request brings.
func loginCallerOf(c *gin.Context) auth.Caller {
	caller := callerOf(c)
	if caller.Device = c.GetHeader(deviceHeader); caller.Device == "" {
		caller.Devices = edge.DevicesOf(c)
	}
	return caller
}

// setDevice gives the client a device token to show at its next login. The cookie is for /token
// and the paths below it.
func (s *API) setDevice(c *gin.Context, grant auth.Grant) {
	if grant.Device == "" {
		return
	}
	c.Header(deviceHeader, grant.Device)
	s.edge.SetDevice(c, "/token", grant.DeviceName, grant.Device)
}
