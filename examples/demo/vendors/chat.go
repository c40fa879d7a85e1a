package vendors

import (
	"fmt"
	"net/http"
	"path"
	"path/filepath"
	"slices"
)

// Message is what somebody wrote into a channel.
type Message struct{ Channel, Text string }

// chat is Slack's Web API (https://docs.slack.dev/reference/methods).
func (s *Server) chat() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /slack/auth.test": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, map[string]any{"ok": true, "url": "http://localhost/", "team": "Tulia", "user": "allclear", "user_id": "U1"})
		},
		"POST /slack/chat.postMessage": func(w http.ResponseWriter, r *http.Request) {
			var m Message
			if !read(w, r, &m) {
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.messages = append(s.messages, m)
			reply(w, http.StatusOK, map[string]any{"ok": true, "channel": "C1", "ts": fmt.Sprintf("%d.000100", len(s.messages))})
		},
		"GET /slack/chat.getPermalink": func(w http.ResponseWriter, r *http.Request) {
			reply(w, http.StatusOK, map[string]any{"ok": true, "permalink": "http://localhost/archives/C1/p" + r.URL.Query().Get("message_ts")})
		},
	}
}

// Messages are all that were written so far.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// cdn serves static files and says whether it had them in its cache.
func (s *Server) cdn() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /cdn/{file...}": func(w http.ResponseWriter, r *http.Request) {
			name := path.Clean("/" + r.PathValue("file"))
			s.mu.Lock()
			hit := s.cached[name]
			s.cached[name] = true
			s.mu.Unlock()
			w.Header().Set("X-Cache", map[bool]string{true: "HIT", false: "MISS"}[hit])
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			http.ServeFile(w, r, filepath.Join(s.Static, filepath.FromSlash(name)))
		},
	}
}
