package web

import (
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/examples/tulia/internal/store"
)

// router is what takes the routes: the server's own, or a list for the description.
type router interface {
	HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request))
}

type patterns []string

func (p *patterns) HandleFunc(pattern string, _ func(http.ResponseWriter, *http.Request)) {
	*p = append(*p, pattern)
}

// bodies are the types of what a route takes and answers, where it is a stored thing.
func bodies() map[string]struct{ takes, answers reflect.Type } {
	order, appointment, message := reflect.TypeFor[store.Order](), reflect.TypeFor[store.Appointment](), reflect.TypeFor[store.Message]()
	return map[string]struct{ takes, answers reflect.Type }{
		"POST /v1/orders":                            {reflect.TypeFor[store.NewOrder](), order},
		"GET /v1/orders/{id}":                        {nil, order},
		"POST /v1/orders/{id}/cancel":                {nil, order},
		"GET /v1/services/appointments/{id}":         {nil, appointment},
		"POST /v1/services/appointments":             {nil, appointment},
		"POST /v1/services/appointments/{id}/cancel": {nil, appointment},
		"GET /v1/messages/{id}":                      {nil, message},
		"POST /v1/messages/send":                     {nil, message},
		"GET /v1/analytics/overview":                 {nil, reflect.TypeFor[store.Overview]()},
	}
}

// Description is the API under /v1 as OpenAPI 3.1, made of the routes and types that answer.
func Description() map[string]any {
	var found patterns
	s := &Server{}
	s.accountRoutes(&found)
	s.businessRoutes(&found)
	found = append(found, "GET /v1/health", "GET /v1/health/live", "GET /v1/admin/tenants")
	open := []string{"POST /v1/auth/login", "POST /v1/auth/refresh", "POST /v1/webhooks/payments", "GET /v1/health", "GET /v1/health/live"}
	paths := map[string]any{}
	for _, pattern := range found {
		method, path, _ := strings.Cut(pattern, " ")
		operation := describe(pattern, path)
		if !slices.Contains(open, pattern) {
			operation["security"] = []any{map[string]any{"login": []string{}}}
		}
		operations, there := paths[path].(map[string]any)
		if !there {
			operations = map[string]any{}
			paths[path] = operations
		}
		operations[strings.ToLower(method)] = operation
	}
	return map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "Tulia", "version": "1"}, "paths": paths,
		"components": map[string]any{"securitySchemes": map[string]any{"login": map[string]any{"type": "http", "scheme": "bearer"}}},
	}
}

func describe(pattern, path string) map[string]any {
	success := map[string]string{"POST /v1/orders": "201", "POST /v1/services/appointments": "201", "POST /v1/withdrawals": "201", "POST /v1/messages/send": "202"}
	status := success[pattern]
	if status == "" {
		status = "200"
	}
	answer := map[string]any{"description": "done"}
	operation := map[string]any{"responses": map[string]any{status: answer}}
	body := bodies()[pattern]
	if body.answers != nil {
		answer["content"] = content(body.answers)
	}
	if body.takes != nil {
		operation["requestBody"] = map[string]any{"required": true, "content": content(body.takes)}
	}
	var parameters []any
	for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		parameters = append(parameters, map[string]any{"name": name[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	if parameters != nil {
		operation["parameters"] = parameters
	}
	return operation
}

func content(t reflect.Type) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": schema(t)}}
}

// schema describes how a type is written as JSON.
func schema(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return map[string]any{"anyOf": []any{schema(t.Elem()), map[string]any{"type": "null"}}}
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": schema(t.Elem())}
	case t.Kind() == reflect.Struct:
		properties := map[string]any{}
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
				properties[name] = schema(t.Field(i).Type)
			}
		}
		return map[string]any{"type": "object", "properties": properties}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.String:
		return map[string]any{"type": "string"}
	case t.Kind() == reflect.Float64:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": "integer"}
}
