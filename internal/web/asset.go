package web

import (
	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

const assetPath = "/assets/:file"

// assetPolicy keeps a logo that is opened by itself from running scripts, as an SVG could. It may
// have its own styles.
const assetPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

func (w *Web) getAsset(c *gin.Context) error {
	asset, ok := w.assets["/assets/"+c.Param("file")]
	if !ok {
		return edge.ErrNotFound
	}
	c.Header("Content-Security-Policy", assetPolicy)
	c.Header("Cross-Origin-Resource-Policy", "same-origin")
	edge.ServeContent(c, asset.MediaType, pages.CacheControl, edge.ETag(asset.Body), asset.Body)
	return nil
}
