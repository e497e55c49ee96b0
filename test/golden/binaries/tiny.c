typedef void* napi_value; typedef void* napi_env;
#if defined(_WIN32)
#define API __declspec(dllexport)
#define NODE __declspec(dllimport)
#else
#define API __attribute__((visibility("default")))
#define NODE
#endif
NODE int napi_create_object(napi_env, napi_value*);
int hidden_helper(int x) __attribute__((visibility("hidden")));
int hidden_helper(int x) { return x + 1; }
API napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value made = exports;
  napi_create_object(env, &made);
  return made;
}
#if defined(_WIN32)
int DllMainCRTStartup(void* a, unsigned b, void* c) { (void)a; (void)b; (void)c; return 1; }
#endif
