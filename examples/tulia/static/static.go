// Package static holds the files that browsers load from /static/.
package static

import "embed"

// Files are the stylesheets of the admin pages.
//
//go:embed *.css
var Files embed.FS
