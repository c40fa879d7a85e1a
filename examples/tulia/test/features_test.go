package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/examples/tulia/internal/token"
)

// TestEveryFeature runs v1's web, worker and scheduler and uses everything they offer.
func TestEveryFeature(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.web("v1")
	w.worker("v1", "worker")
	w.worker("v1", "scheduler")
	for _, feature := range []struct {
		name string
		test func(*testing.T, *world, string)
	}{
		{"health", testHealth}, {"login", testLogin}, {"tenant", testTenant}, {"roles", testRoles},
		{"withdrawals", testWithdrawals}, {"webhook", testWebhook}, {"messages", testMessages},
		{"orders", testOrders}, {"appointments", testAppointments}, {"analytics", testAnalytics},
		{"admin", testAdmin}, {"edges", testEdges}, {"metrics", testMetrics},
	} {
		t.Run(feature.name, func(t *testing.T) {
			here := *w
			here.t = t
			feature.test(t, &here, p.url)
		})
	}
}

func testHealth(t *testing.T, w *world, base string) {
	c := client{t: t, base: base}
	eventually(t, "healthy", func() error {
		if a := c.get("/v1/health"); a.status != 200 {
			return fmt.Errorf("%d %s", a.status, a.text)
		}
		return nil
	})
	a := c.get("/v1/health/")
	want(t, "with a slash", a, 200, "")
	for field, value := range map[string]any{
		"status": "healthy", "version": "1.0.0", "revision": "rev-v1", "database": "healthy", "cache": "healthy",
		"worker": "healthy", "schema": "healthy", "schema_version": 3.0, "schema_needed": 3.0,
	} {
		if a.json[field] != value {
			t.Errorf("%s = %v, want %v", field, a.json[field], value)
		}
	}
}

func testLogin(t *testing.T, w *world, base string) {
	email := w.seed.Tenants[0].Users["agent"]
	c := client{t: t, base: base}
	want(t, "no token", c.get("/v1/auth/me"), 401, "UNAUTHENTICATED")
	for _, in := range []map[string]string{{"email": email, "password": "wrong"}, {"email": "nobody@tulia.example", "password": password}} {
		want(t, "wrong credentials", c.post("/v1/auth/login", in), 401, "INVALID_CREDENTIALS")
	}
	in := c.post("/v1/auth/login", map[string]string{"email": strings.ToUpper(email), "password": password})
	want(t, "login", in, 200, "")
	c.token = in.field("access_token")
	if me := c.get("/v1/auth/me/"); me.status != 200 || !strings.Contains(me.text, email) {
		t.Errorf("me: %d %s", me.status, me.text)
	}
	refreshed := c.post("/v1/auth/refresh", map[string]string{"refresh_token": in.field("refresh_token")})
	want(t, "refresh", refreshed, 200, "")
	want(t, "an access token does not refresh", c.post("/v1/auth/refresh", map[string]string{"refresh_token": c.token}), 401, "")
	c.token = in.field("refresh_token")
	want(t, "a refresh token does not open", c.get("/v1/auth/me"), 401, "")
	c.token = in.field("access_token") + "x"
	want(t, "a changed token", c.get("/v1/auth/me"), 401, "")
}

func testTenant(t *testing.T, w *world, base string) {
	acme, globex := w.seed.Tenants[0], w.seed.Tenants[1]
	c := w.as(base, acme.Users["agent"], "")
	want(t, "missing", c.get("/v1/orders"), 401, "MISSING_TENANT_ID")
	want(t, "malformed", c.get("/v1/orders", "X-TENANT-ID", "acme"), 400, "INVALID_TENANT_ID")
	want(t, "foreign", c.get("/v1/orders", "X-TENANT-ID", globex.ID), 403, "FORBIDDEN")
	want(t, "own", c.get("/v1/orders", "X-TENANT-ID", acme.ID), 200, "")
}

func testRoles(t *testing.T, w *world, base string) {
	acme := w.seed.Tenants[0]
	order := map[string]any{"customer_id": acme.Customers[0], "items": []map[string]any{{"name": "soap", "quantity": 1, "unit_cents": 300}}}
	money := map[string]any{"amount_cents": 100}
	for role, expected := range map[string][4]int{ // GET orders, POST orders, GET analytics, POST withdrawals
		"admin": {200, 201, 200, 201}, "manager": {200, 201, 200, 201},
		"analyst": {200, 403, 200, 403}, "agent": {200, 201, 403, 403},
	} {
		c := w.as(base, acme.Users[role], acme.ID)
		got := [4]int{c.get("/v1/orders").status, c.post("/v1/orders", order).status,
			c.get("/v1/analytics/overview").status, c.post("/v1/withdrawals", money).status}
		if got != expected {
			t.Errorf("%s: %v, want %v", role, got, expected)
		}
	}
}

func testWithdrawals(t *testing.T, w *world, base string) {
	acme := w.seed.Tenants[0]
	manager, admin := w.as(base, acme.Users["manager"], acme.ID), w.as(base, acme.Users["admin"], acme.ID)
	made := manager.post("/v1/withdrawals", map[string]any{"amount_cents": 5000})
	want(t, "initiate", made, 201, "")
	path := "/v1/withdrawals/" + made.field("id") + "/approve"
	want(t, "own approval", manager.post(path, nil), 409, "SELF_APPROVAL")
	want(t, "second person", admin.post(path, nil), 200, "")
	want(t, "again", admin.post(path, nil), 409, "ALREADY_APPROVED")
	want(t, "no amount", manager.post("/v1/withdrawals", map[string]any{"amount_cents": 0}), 400, "INVALID")
}

func placeOrder(t *testing.T, c client, customer string) answer {
	t.Helper()
	a := c.post("/v1/orders/", map[string]any{"customer_id": customer,
		"items": []map[string]any{{"name": "soap", "quantity": 2, "unit_cents": 300}, {"name": "towel", "quantity": 1, "unit_cents": 900}}})
	want(t, "place order", a, 201, "")
	return a
}

func testWebhook(t *testing.T, w *world, base string) {
	acme := w.seed.Tenants[0]
	c := w.as(base, acme.Users["agent"], acme.ID)
	order := placeOrder(t, c, acme.Customers[0]).field("id")
	body, _ := json.Marshal(map[string]string{"event_id": "evt-1", "type": "order.paid", "tenant_id": acme.ID, "order_id": order})
	anonymous := client{t: t, base: base}
	send := func(body []byte, signature string) answer {
		return anonymous.post("/v1/webhooks/payments", body, "X-Tulia-Signature", signature)
	}
	good := token.SignWebhook([]byte(webhookSecret), body, time.Now())
	want(t, "unsigned", send(body, ""), 401, "INVALID_SIGNATURE")
	want(t, "tampered", send([]byte(strings.Replace(string(body), "evt-1", "evt-2", 1)), good), 401, "INVALID_SIGNATURE")
	want(t, "stale", send(body, token.SignWebhook([]byte(webhookSecret), body, time.Now().Add(-time.Hour))), 401, "INVALID_SIGNATURE")
	want(t, "not applied yet", c.get("/v1/webhooks/events/evt-1"), 404, "")
	if a := send(body, good); a.status != 200 || a.json["duplicate"] != false {
		t.Errorf("first: %d %s", a.status, a.text)
	}
	if a := send(body, good); a.status != 200 || a.json["duplicate"] != true {
		t.Errorf("replay: %d %s", a.status, a.text)
	}
	if a := c.get("/v1/webhooks/events/evt-1"); a.json["received"] != 2.0 {
		t.Errorf("received: %s", a.text)
	}
	if a := c.get("/v1/orders/" + order); a.field("status") != "paid" {
		t.Errorf("order: %s", a.text)
	}
	want(t, "a paid order stays", c.post("/v1/orders/"+order+"/cancel", nil), 409, "NOT_CANCELLABLE")
}

func testMessages(t *testing.T, w *world, base string) {
	acme, globex := w.seed.Tenants[0], w.seed.Tenants[1]
	c := w.as(base, acme.Users["agent"], acme.ID)
	sent := c.post("/v1/messages/send", map[string]string{"customer_id": acme.Customers[0], "body": "hello"})
	want(t, "send", sent, 202, "")
	eventually(t, "delivered", func() error {
		if a := c.get("/v1/messages/" + sent.field("id")); a.field("status") != "delivered" || a.field("provider_sid") == "" {
			return fmt.Errorf("%d %s", a.status, a.text)
		}
		return nil
	})
	want(t, "foreign customer", c.post("/v1/messages/send", map[string]string{"customer_id": globex.Customers[0], "body": "x"}), 400, "INVALID")
	want(t, "test address is gone", c.post("/v1/test/send-whatsapp/", nil), 404, "NOT_FOUND")
	// A job that was lost: the scheduler's sweep finds the message.
	if _, err := w.db.Exec(t.Context(), `INSERT INTO messages (id, tenant_id, customer_id, body, created_at)
		VALUES ('00000000-0000-4000-8000-000000000001', $1, $2, 'lost', now() - interval '1 hour')`, acme.ID, acme.Customers[0]); err != nil {
		t.Fatal(err)
	}
}

func testOrders(t *testing.T, w *world, base string) {
	acme, globex := w.seed.Tenants[0], w.seed.Tenants[1]
	c := w.as(base, acme.Users["agent"], acme.ID)
	placed := placeOrder(t, c, acme.Customers[1])
	if placed.json["total_cents"] != 1500.0 || len(placed.json["items"].([]any)) != 2 {
		t.Errorf("placed: %s", placed.text)
	}
	path := "/v1/orders/" + placed.field("id")
	want(t, "get", c.get(path), 200, "")
	want(t, "another tenant sees nothing", w.as(base, globex.Users["admin"], globex.ID).get(path), 404, "NOT_FOUND")
	if a := c.post(path+"/cancel", nil); a.status != 200 || a.field("status") != "cancelled" {
		t.Errorf("cancel: %d %s", a.status, a.text)
	}
	want(t, "cancel again", c.post(path+"/cancel", nil), 409, "NOT_CANCELLABLE")
	want(t, "not an id", c.get("/v1/orders/1"), 404, "NOT_FOUND")
	want(t, "page", c.get("/v1/orders?limit=1000"), 400, "INVALID")
	want(t, "foreign customer", c.post("/v1/orders", map[string]any{"customer_id": globex.Customers[0],
		"items": []map[string]any{{"name": "x", "quantity": 1, "unit_cents": 1}}}), 400, "INVALID")
	for _, body := range []string{`{`, `{}`, `{"total":1}`, `{"customer_id":"` + acme.Customers[0] + `","items":[{"name":"x","quantity":-1}]}`, `{} {}`} {
		want(t, body, c.post("/v1/orders", []byte(body)), 400, "INVALID")
	}
}

func testAppointments(t *testing.T, w *world, base string) {
	acme := w.seed.Tenants[0]
	c := w.as(base, acme.Users["agent"], acme.ID)
	day := time.Now().UTC().Add(48 * time.Hour).Format(time.DateOnly)
	slots := func() int {
		a := c.get("/v1/services/availability?service_id=" + acme.Service + "&date=" + day)
		want(t, "availability", a, 200, "")
		list, _ := a.json["slots"].([]any)
		return len(list)
	}
	if n := slots(); n != 16 {
		t.Errorf("%d free slots, want 16", n)
	}
	in := map[string]string{"service_id": acme.Service, "customer_id": acme.Customers[0], "starts_at": day + "T10:30:00Z"}
	booked := c.post("/v1/services/appointments/", in)
	want(t, "book", booked, 201, "")
	want(t, "double-book", c.post("/v1/services/appointments", in), 409, "SLOT_TAKEN")
	if n := slots(); n != 15 {
		t.Errorf("%d free slots, want 15", n)
	}
	in["starts_at"] = day + "T10:31:00Z"
	want(t, "not a slot", c.post("/v1/services/appointments", in), 422, "NOT_A_SLOT")
	path := "/v1/services/appointments/" + booked.field("id")
	want(t, "get", c.get(path), 200, "")
	want(t, "cancel", c.post(path+"/cancel", nil), 200, "")
	if n := slots(); n != 16 {
		t.Errorf("%d free slots after cancel, want 16", n)
	}
}

func testAnalytics(t *testing.T, w *world, base string) {
	acme := w.seed.Tenants[0]
	c := w.as(base, acme.Users["analyst"], acme.ID)
	for path, field := range map[string]string{"overview": "revenue_cents", "daily": "days", "messaging": "delivered", "funnel": "paid"} {
		a := c.get("/v1/analytics/" + path)
		if a.status != 200 || a.json[field] == nil {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	if days := c.get("/v1/analytics/daily?days=30").json["days"].([]any); len(days) != 30 {
		t.Errorf("%d days, want 30", len(days))
	}
}

func testAdmin(t *testing.T, w *world, base string) {
	root, agent := w.as(base, w.seed.Superuser, ""), w.as(base, w.seed.Tenants[0].Users["admin"], "")
	if a := root.get("/v1/admin/tenants"); a.status != 200 || !strings.Contains(a.text, "globex") {
		t.Errorf("superuser: %d %s", a.status, a.text)
	}
	want(t, "others", agent.get("/v1/admin/tenants"), 403, "FORBIDDEN")
	c := client{t: t, base: base}
	if a := c.get("/admin/login/"); a.status != 200 || !strings.Contains(a.text, "<form") {
		t.Errorf("page: %d %s", a.status, a.text)
	}
	want(t, "stylesheet", c.get("/static/admin.css"), 200, "")
	want(t, "home without a session", c.get("/admin/"), 303, "")
	form := func(email string) answer {
		return c.post("/admin/login/", []byte("email="+email+"&password="+strings.ReplaceAll(password, " ", "+")),
			"Content-Type", "application/x-www-form-urlencoded")
	}
	want(t, "others' form", form("admin@acme.example"), 401, "")
	in := form(w.seed.Superuser)
	want(t, "superuser's form", in, 303, "")
	session, _, _ := strings.Cut(in.header.Get("Set-Cookie"), ";")
	if a := c.get("/admin/", "Cookie", session); a.status != 200 || !strings.Contains(a.text, "acme") {
		t.Errorf("home: %d %s", a.status, a.text)
	}
}

func testEdges(t *testing.T, w *world, base string) {
	c := client{t: t, base: base}
	want(t, "wrong host", c.get("/v1/health", "Host", "evil.example"), 400, "INVALID_HOST")
	want(t, "host under ours", c.get("/v1/health/live", "Host", "api.tulia.example:80"), 200, "")
	if id := c.get("/v1/health/live", "X-Request-ID", "trace-7").header.Get("X-Request-ID"); id != "trace-7" {
		t.Errorf("request id %q is not echoed", id)
	}
	if a := c.get("/v1/health/live", "X-Request-ID", "a b"); a.header.Get("X-Request-ID") == "a b" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers: %v", a.header)
	}
	preflight := func(origin string) answer {
		return c.do(http.MethodOptions, "/v1/orders", nil, "Origin", origin, "Access-Control-Request-Method", "POST")
	}
	if a := preflight("https://app.tulia.example"); a.status != 204 || a.header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	if a := preflight("https://evil.example"); a.status != 403 || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("foreign preflight: %d %v", a.status, a.header)
	}
	want(t, "no such address", c.get("/v1/nothing"), 404, "NOT_FOUND")
}

func testMetrics(t *testing.T, w *world, base string) {
	c := client{t: t, base: base}
	eventually(t, "the lost message is swept", func() error {
		var status string
		err := w.db.QueryRow(t.Context(), `SELECT status FROM messages WHERE id = '00000000-0000-4000-8000-000000000001'`).Scan(&status)
		if err == nil && status != "delivered" {
			err = fmt.Errorf("it is %s", status)
		}
		return err
	})
	text := c.get("/metrics").text
	for _, line := range []string{
		`tulia_build_info{version="1.0.0",revision="rev-v1"} 1`, `tulia_http_requests_total{route="/v1/orders",method="POST",code="201"} `,
		`tulia_http_request_seconds_bucket{route="/v1/orders",le="+Inf"} `, "tulia_queue_up 1", "tulia_workers 1",
		"tulia_queue_depth 0", "tulia_scheduler_entries 1",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("metrics lack %s", line)
		}
	}
	if strings.Contains(text, "tulia_jobs_processed_total 0\n") {
		t.Error("no job was counted")
	}
}
