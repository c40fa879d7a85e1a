package web

import (
	"html/template"
	"net/http"

	"allclear.dev/allclear/examples/tulia/internal/store"
	"allclear.dev/allclear/examples/tulia/internal/token"
)

const adminCookie = "tulia_admin"

const adminPages = `{{define "head"}}<!doctype html><html lang="en"><meta charset="utf-8"><title>Tulia admin</title>
<link rel="stylesheet" href="/static/admin.css">{{end}}
{{define "login"}}{{template "head"}}<h1>Tulia admin</h1>{{with .}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="/admin/login/">
<label for="email">E-mail</label><input id="email" name="email" type="email" autocomplete="username" required>
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button></form></html>{{end}}
{{define "home"}}{{template "head"}}<h1>Tenants</h1><table><tr><th>Name</th><th>Users</th><th>Id</th></tr>
{{range .}}<tr><td>{{.Name}}</td><td>{{.Users}}</td><td>{{.ID}}</td></tr>{{end}}</table></html>{{end}}`

// page writes one of the admin pages.
func page(w http.ResponseWriter, status int, name string, data any) error {
	pages, err := template.New("").Parse(adminPages)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	return pages.ExecuteTemplate(w, name, data)
}

func (s *Server) adminTenants(w http.ResponseWriter, r *http.Request, u store.User) error {
	if !u.Superuser {
		return forbidden("this is for superusers")
	}
	list, err := s.Store.Tenants(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"tenants": list})
}

func (s *Server) adminLoginPage(w http.ResponseWriter, r *http.Request) {
	if err := page(w, http.StatusOK, "login", ""); err != nil {
		s.Log.Error("request failed", "path", r.URL.Path, "error", err.Error(), "request_id", idOf(r))
	}
}

func (s *Server) adminLogin(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	u, err := s.checkPassword(r, r.PostFormValue("email"), r.PostFormValue("password"))
	if _, refused := err.(*problem); refused || err == nil && !u.Superuser {
		return page(w, http.StatusUnauthorized, "login", "Address or password is wrong.")
	}
	if err != nil {
		return err
	}
	session, err := s.sign(u, token.Access, accessLife)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: adminCookie, Value: session, Path: "/admin/", MaxAge: int(accessLife.Seconds()),
		HttpOnly: true, Secure: s.Config.Env == "production", SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, "/admin/", http.StatusSeeOther)
	return nil
}

func (s *Server) adminHome(w http.ResponseWriter, r *http.Request) error {
	cookie, err := r.Cookie(adminCookie)
	if err != nil {
		http.Redirect(w, r, "/admin/login/", http.StatusSeeOther)
		return nil
	}
	u, err := s.tokenUser(r, cookie.Value, token.Access)
	if err != nil {
		return err
	}
	if !u.Superuser {
		return forbidden("this is for superusers")
	}
	list, err := s.Store.Tenants(r.Context())
	if err != nil {
		return err
	}
	return page(w, http.StatusOK, "home", list)
}
