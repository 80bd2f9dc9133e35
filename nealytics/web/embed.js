/* Nealytics, MIT. Contains Lit (BSD-3-Clause) and d3-array, d3-path, d3-shape (ISC). */
var _e=globalThis,ve=_e.ShadowRoot&&(_e.ShadyCSS===void 0||_e.ShadyCSS.nativeShadow)&&"adoptedStyleSheets"in Document.prototype&&"replace"in CSSStyleSheet.prototype,ht=Symbol(),Ht=new WeakMap,de=class{constructor(e,t,n){if(this._$cssResult$=!0,n!==ht)throw Error("CSSResult is not constructable. Use `unsafeCSS` or `css` instead.");this.cssText=e,this.t=t}get styleSheet(){let e=this.o,t=this.t;if(ve&&e===void 0){let n=t!==void 0&&t.length===1;n&&(e=Ht.get(t)),e===void 0&&((this.o=e=new CSSStyleSheet).replaceSync(this.cssText),n&&Ht.set(t,e))}return e}toString(){return this.cssText}},Bt=i=>new de(typeof i=="string"?i:i+"",void 0,ht),b=(i,...e)=>{let t=i.length===1?i[0]:e.reduce((n,s,r)=>n+(o=>{if(o._$cssResult$===!0)return o.cssText;if(typeof o=="number")return o;throw Error("Value passed to 'css' function must be a 'css' function result: "+o+". Use 'unsafeCSS' to pass non-literal values, but take care to ensure page security.")})(s)+i[r+1],i[0]);return new de(t,i,ht)},Ft=(i,e)=>{if(ve)i.adoptedStyleSheets=e.map(t=>t instanceof CSSStyleSheet?t:t.styleSheet);else for(let t of e){let n=document.createElement("style"),s=_e.litNonce;s!==void 0&&n.setAttribute("nonce",s),n.textContent=t.cssText,i.appendChild(n)}},ut=ve?i=>i:i=>i instanceof CSSStyleSheet?(e=>{let t="";for(let n of e.cssRules)t+=n.cssText;return Bt(t)})(i):i;var{is:ai,defineProperty:li,getOwnPropertyDescriptor:ci,getOwnPropertyNames:di,getOwnPropertySymbols:hi,getPrototypeOf:ui}=Object,be=globalThis,jt=be.trustedTypes,pi=jt?jt.emptyScript:"",fi=be.reactiveElementPolyfillSupport,he=(i,e)=>i,pt={toAttribute(i,e){switch(e){case Boolean:i=i?pi:null;break;case Object:case Array:i=i==null?i:JSON.stringify(i)}return i},fromAttribute(i,e){let t=i;switch(e){case Boolean:t=i!==null;break;case Number:t=i===null?null:Number(i);break;case Object:case Array:try{t=JSON.parse(i)}catch{t=null}}return t}},Qt=(i,e)=>!ai(i,e),Vt={attribute:!0,type:String,converter:pt,reflect:!1,useDefault:!1,hasChanged:Qt};Symbol.metadata??=Symbol("metadata"),be.litPropertyMetadata??=new WeakMap;var N=class extends HTMLElement{static addInitializer(e){this._$Ei(),(this.l??=[]).push(e)}static get observedAttributes(){return this.finalize(),this._$Eh&&[...this._$Eh.keys()]}static createProperty(e,t=Vt){if(t.state&&(t.attribute=!1),this._$Ei(),this.prototype.hasOwnProperty(e)&&((t=Object.create(t)).wrapped=!0),this.elementProperties.set(e,t),!t.noAccessor){let n=Symbol(),s=this.getPropertyDescriptor(e,n,t);s!==void 0&&li(this.prototype,e,s)}}static getPropertyDescriptor(e,t,n){let{get:s,set:r}=ci(this.prototype,e)??{get(){return this[t]},set(o){this[t]=o}};return{get:s,set(o){let a=s?.call(this);r?.call(this,o),this.requestUpdate(e,a,n)},configurable:!0,enumerable:!0}}static getPropertyOptions(e){return this.elementProperties.get(e)??Vt}static _$Ei(){if(this.hasOwnProperty(he("elementProperties")))return;let e=ui(this);e.finalize(),e.l!==void 0&&(this.l=[...e.l]),this.elementProperties=new Map(e.elementProperties)}static finalize(){if(this.hasOwnProperty(he("finalized")))return;if(this.finalized=!0,this._$Ei(),this.hasOwnProperty(he("properties"))){let t=this.properties,n=[...di(t),...hi(t)];for(let s of n)this.createProperty(s,t[s])}let e=this[Symbol.metadata];if(e!==null){let t=litPropertyMetadata.get(e);if(t!==void 0)for(let[n,s]of t)this.elementProperties.set(n,s)}this._$Eh=new Map;for(let[t,n]of this.elementProperties){let s=this._$Eu(t,n);s!==void 0&&this._$Eh.set(s,t)}this.elementStyles=this.finalizeStyles(this.styles)}static finalizeStyles(e){let t=[];if(Array.isArray(e)){let n=new Set(e.flat(1/0).reverse());for(let s of n)t.unshift(ut(s))}else e!==void 0&&t.push(ut(e));return t}static _$Eu(e,t){let n=t.attribute;return n===!1?void 0:typeof n=="string"?n:typeof e=="string"?e.toLowerCase():void 0}constructor(){super(),this._$Ep=void 0,this.isUpdatePending=!1,this.hasUpdated=!1,this._$Em=null,this._$Ev()}_$Ev(){this._$ES=new Promise(e=>this.enableUpdating=e),this._$AL=new Map,this._$E_(),this.requestUpdate(),this.constructor.l?.forEach(e=>e(this))}addController(e){(this._$EO??=new Set).add(e),this.renderRoot!==void 0&&this.isConnected&&e.hostConnected?.()}removeController(e){this._$EO?.delete(e)}_$E_(){let e=new Map,t=this.constructor.elementProperties;for(let n of t.keys())this.hasOwnProperty(n)&&(e.set(n,this[n]),delete this[n]);e.size>0&&(this._$Ep=e)}createRenderRoot(){let e=this.shadowRoot??this.attachShadow(this.constructor.shadowRootOptions);return Ft(e,this.constructor.elementStyles),e}connectedCallback(){this.renderRoot??=this.createRenderRoot(),this.enableUpdating(!0),this._$EO?.forEach(e=>e.hostConnected?.())}enableUpdating(e){}disconnectedCallback(){this._$EO?.forEach(e=>e.hostDisconnected?.())}attributeChangedCallback(e,t,n){this._$AK(e,n)}_$ET(e,t){let n=this.constructor.elementProperties.get(e),s=this.constructor._$Eu(e,n);if(s!==void 0&&n.reflect===!0){let r=(n.converter?.toAttribute!==void 0?n.converter:pt).toAttribute(t,n.type);this._$Em=e,r==null?this.removeAttribute(s):this.setAttribute(s,r),this._$Em=null}}_$AK(e,t){let n=this.constructor,s=n._$Eh.get(e);if(s!==void 0&&this._$Em!==s){let r=n.getPropertyOptions(s),o=typeof r.converter=="function"?{fromAttribute:r.converter}:r.converter?.fromAttribute!==void 0?r.converter:pt;this._$Em=s;let a=o.fromAttribute(t,r.type);this[s]=a??this._$Ej?.get(s)??a,this._$Em=null}}requestUpdate(e,t,n,s=!1,r){if(e!==void 0){let o=this.constructor;if(s===!1&&(r=this[e]),n??=o.getPropertyOptions(e),!((n.hasChanged??Qt)(r,t)||n.useDefault&&n.reflect&&r===this._$Ej?.get(e)&&!this.hasAttribute(o._$Eu(e,n))))return;this.C(e,t,n)}this.isUpdatePending===!1&&(this._$ES=this._$EP())}C(e,t,{useDefault:n,reflect:s,wrapped:r},o){n&&!(this._$Ej??=new Map).has(e)&&(this._$Ej.set(e,o??t??this[e]),r!==!0||o!==void 0)||(this._$AL.has(e)||(this.hasUpdated||n||(t=void 0),this._$AL.set(e,t)),s===!0&&this._$Em!==e&&(this._$Eq??=new Set).add(e))}async _$EP(){this.isUpdatePending=!0;try{await this._$ES}catch(t){Promise.reject(t)}let e=this.scheduleUpdate();return e!=null&&await e,!this.isUpdatePending}scheduleUpdate(){return this.performUpdate()}performUpdate(){if(!this.isUpdatePending)return;if(!this.hasUpdated){if(this.renderRoot??=this.createRenderRoot(),this._$Ep){for(let[s,r]of this._$Ep)this[s]=r;this._$Ep=void 0}let n=this.constructor.elementProperties;if(n.size>0)for(let[s,r]of n){let{wrapped:o}=r,a=this[s];o!==!0||this._$AL.has(s)||a===void 0||this.C(s,void 0,r,a)}}let e=!1,t=this._$AL;try{e=this.shouldUpdate(t),e?(this.willUpdate(t),this._$EO?.forEach(n=>n.hostUpdate?.()),this.update(t)):this._$EM()}catch(n){throw e=!1,this._$EM(),n}e&&this._$AE(t)}willUpdate(e){}_$AE(e){this._$EO?.forEach(t=>t.hostUpdated?.()),this.hasUpdated||(this.hasUpdated=!0,this.firstUpdated(e)),this.updated(e)}_$EM(){this._$AL=new Map,this.isUpdatePending=!1}get updateComplete(){return this.getUpdateComplete()}getUpdateComplete(){return this._$ES}shouldUpdate(e){return!0}update(e){this._$Eq&&=this._$Eq.forEach(t=>this._$ET(t,this[t])),this._$EM()}updated(e){}firstUpdated(e){}};N.elementStyles=[],N.shadowRootOptions={mode:"open"},N[he("elementProperties")]=new Map,N[he("finalized")]=new Map,fi?.({ReactiveElement:N}),(be.reactiveElementVersions??=[]).push("2.1.2");var mt=globalThis,Wt=i=>i,xe=mt.trustedTypes,Gt=xe?xe.createPolicy("lit-html",{createHTML:i=>i}):void 0,gt="$lit$",D=`lit$${Math.random().toFixed(9).slice(2)}$`,yt="?"+D,mi=`<${yt}>`,V=document,pe=()=>V.createComment(""),fe=i=>i===null||typeof i!="object"&&typeof i!="function",_t=Array.isArray,en=i=>_t(i)||typeof i?.[Symbol.iterator]=="function",ft=`[ 	
\f\r]`,ue=/<(?:(!--|\/[^a-zA-Z])|(\/?[a-zA-Z][^>\s]*)|(\/?$))/g,Yt=/-->/g,Kt=/>/g,F=RegExp(`>|${ft}(?:([^\\s"'>=/]+)(${ft}*=${ft}*(?:[^ 	
\f\r"'\`<>=]|("|')|))|$)`,"g"),Xt=/'/g,Jt=/"/g,tn=/^(?:script|style|textarea|title)$/i,vt=i=>(e,...t)=>({_$litType$:i,strings:e,values:t}),u=vt(1),k=vt(2),Ts=vt(3),R=Symbol.for("lit-noChange"),f=Symbol.for("lit-nothing"),Zt=new WeakMap,j=V.createTreeWalker(V,129);function nn(i,e){if(!_t(i)||!i.hasOwnProperty("raw"))throw Error("invalid template strings array");return Gt!==void 0?Gt.createHTML(e):e}var sn=(i,e)=>{let t=i.length-1,n=[],s,r=e===2?"<svg>":e===3?"<math>":"",o=ue;for(let a=0;a<t;a++){let l=i[a],c,p,d=-1,h=0;for(;h<l.length&&(o.lastIndex=h,p=o.exec(l),p!==null);)h=o.lastIndex,o===ue?p[1]==="!--"?o=Yt:p[1]!==void 0?o=Kt:p[2]!==void 0?(tn.test(p[2])&&(s=RegExp("</"+p[2],"g")),o=F):p[3]!==void 0&&(o=F):o===F?p[0]===">"?(o=s??ue,d=-1):p[1]===void 0?d=-2:(d=o.lastIndex-p[2].length,c=p[1],o=p[3]===void 0?F:p[3]==='"'?Jt:Xt):o===Jt||o===Xt?o=F:o===Yt||o===Kt?o=ue:(o=F,s=void 0);let m=o===F&&i[a+1].startsWith("/>")?" ":"";r+=o===ue?l+mi:d>=0?(n.push(c),l.slice(0,d)+gt+l.slice(d)+D+m):l+D+(d===-2?a:m)}return[nn(i,r+(i[t]||"<?>")+(e===2?"</svg>":e===3?"</math>":"")),n]},me=class i{constructor({strings:e,_$litType$:t},n){let s;this.parts=[];let r=0,o=0,a=e.length-1,l=this.parts,[c,p]=sn(e,t);if(this.el=i.createElement(c,n),j.currentNode=this.el.content,t===2||t===3){let d=this.el.content.firstChild;d.replaceWith(...d.childNodes)}for(;(s=j.nextNode())!==null&&l.length<a;){if(s.nodeType===1){if(s.hasAttributes())for(let d of s.getAttributeNames())if(d.endsWith(gt)){let h=p[o++],m=s.getAttribute(d).split(D),g=/([.?@])?(.*)/.exec(h);l.push({type:1,index:r,name:g[2],strings:m,ctor:g[1]==="."?$e:g[1]==="?"?ke:g[1]==="@"?Te:W}),s.removeAttribute(d)}else d.startsWith(D)&&(l.push({type:6,index:r}),s.removeAttribute(d));if(tn.test(s.tagName)){let d=s.textContent.split(D),h=d.length-1;if(h>0){s.textContent=xe?xe.emptyScript:"";for(let m=0;m<h;m++)s.append(d[m],pe()),j.nextNode(),l.push({type:2,index:++r});s.append(d[h],pe())}}}else if(s.nodeType===8)if(s.data===yt)l.push({type:2,index:r});else{let d=-1;for(;(d=s.data.indexOf(D,d+1))!==-1;)l.push({type:7,index:r}),d+=D.length-1}r++}}static createElement(e,t){let n=V.createElement("template");return n.innerHTML=e,n}};function Q(i,e,t=i,n){if(e===R)return e;let s=n!==void 0?t._$Co?.[n]:t._$Cl,r=fe(e)?void 0:e._$litDirective$;return s?.constructor!==r&&(s?._$AO?.(!1),r===void 0?s=void 0:(s=new r(i),s._$AT(i,t,n)),n!==void 0?(t._$Co??=[])[n]=s:t._$Cl=s),s!==void 0&&(e=Q(i,s._$AS(i,e.values),s,n)),e}var we=class{constructor(e,t){this._$AV=[],this._$AN=void 0,this._$AD=e,this._$AM=t}get parentNode(){return this._$AM.parentNode}get _$AU(){return this._$AM._$AU}u(e){let{el:{content:t},parts:n}=this._$AD,s=(e?.creationScope??V).importNode(t,!0);j.currentNode=s;let r=j.nextNode(),o=0,a=0,l=n[0];for(;l!==void 0;){if(o===l.index){let c;l.type===2?c=new Z(r,r.nextSibling,this,e):l.type===1?c=new l.ctor(r,l.name,l.strings,this,e):l.type===6&&(c=new Se(r,this,e)),this._$AV.push(c),l=n[++a]}o!==l?.index&&(r=j.nextNode(),o++)}return j.currentNode=V,s}p(e){let t=0;for(let n of this._$AV)n!==void 0&&(n.strings!==void 0?(n._$AI(e,n,t),t+=n.strings.length-2):n._$AI(e[t])),t++}},Z=class i{get _$AU(){return this._$AM?._$AU??this._$Cv}constructor(e,t,n,s){this.type=2,this._$AH=f,this._$AN=void 0,this._$AA=e,this._$AB=t,this._$AM=n,this.options=s,this._$Cv=s?.isConnected??!0}get parentNode(){let e=this._$AA.parentNode,t=this._$AM;return t!==void 0&&e?.nodeType===11&&(e=t.parentNode),e}get startNode(){return this._$AA}get endNode(){return this._$AB}_$AI(e,t=this){e=Q(this,e,t),fe(e)?e===f||e==null||e===""?(this._$AH!==f&&this._$AR(),this._$AH=f):e!==this._$AH&&e!==R&&this._(e):e._$litType$!==void 0?this.$(e):e.nodeType!==void 0?this.T(e):en(e)?this.k(e):this._(e)}O(e){return this._$AA.parentNode.insertBefore(e,this._$AB)}T(e){this._$AH!==e&&(this._$AR(),this._$AH=this.O(e))}_(e){this._$AH!==f&&fe(this._$AH)?this._$AA.nextSibling.data=e:this.T(V.createTextNode(e)),this._$AH=e}$(e){let{values:t,_$litType$:n}=e,s=typeof n=="number"?this._$AC(e):(n.el===void 0&&(n.el=me.createElement(nn(n.h,n.h[0]),this.options)),n);if(this._$AH?._$AD===s)this._$AH.p(t);else{let r=new we(s,this),o=r.u(this.options);r.p(t),this.T(o),this._$AH=r}}_$AC(e){let t=Zt.get(e.strings);return t===void 0&&Zt.set(e.strings,t=new me(e)),t}k(e){_t(this._$AH)||(this._$AH=[],this._$AR());let t=this._$AH,n,s=0;for(let r of e)s===t.length?t.push(n=new i(this.O(pe()),this.O(pe()),this,this.options)):n=t[s],n._$AI(r),s++;s<t.length&&(this._$AR(n&&n._$AB.nextSibling,s),t.length=s)}_$AR(e=this._$AA.nextSibling,t){for(this._$AP?.(!1,!0,t);e!==this._$AB;){let n=Wt(e).nextSibling;Wt(e).remove(),e=n}}setConnected(e){this._$AM===void 0&&(this._$Cv=e,this._$AP?.(e))}},W=class{get tagName(){return this.element.tagName}get _$AU(){return this._$AM._$AU}constructor(e,t,n,s,r){this.type=1,this._$AH=f,this._$AN=void 0,this.element=e,this.name=t,this._$AM=s,this.options=r,n.length>2||n[0]!==""||n[1]!==""?(this._$AH=Array(n.length-1).fill(new String),this.strings=n):this._$AH=f}_$AI(e,t=this,n,s){let r=this.strings,o=!1;if(r===void 0)e=Q(this,e,t,0),o=!fe(e)||e!==this._$AH&&e!==R,o&&(this._$AH=e);else{let a=e,l,c;for(e=r[0],l=0;l<r.length-1;l++)c=Q(this,a[n+l],t,l),c===R&&(c=this._$AH[l]),o||=!fe(c)||c!==this._$AH[l],c===f?e=f:e!==f&&(e+=(c??"")+r[l+1]),this._$AH[l]=c}o&&!s&&this.j(e)}j(e){e===f?this.element.removeAttribute(this.name):this.element.setAttribute(this.name,e??"")}},$e=class extends W{constructor(){super(...arguments),this.type=3}j(e){this.element[this.name]=e===f?void 0:e}},ke=class extends W{constructor(){super(...arguments),this.type=4}j(e){this.element.toggleAttribute(this.name,!!e&&e!==f)}},Te=class extends W{constructor(e,t,n,s,r){super(e,t,n,s,r),this.type=5}_$AI(e,t=this){if((e=Q(this,e,t,0)??f)===R)return;let n=this._$AH,s=e===f&&n!==f||e.capture!==n.capture||e.once!==n.once||e.passive!==n.passive,r=e!==f&&(n===f||s);s&&this.element.removeEventListener(this.name,this,n),r&&this.element.addEventListener(this.name,this,e),this._$AH=e}handleEvent(e){typeof this._$AH=="function"?this._$AH.call(this.options?.host??this.element,e):this._$AH.handleEvent(e)}},Se=class{constructor(e,t,n){this.element=e,this.type=6,this._$AN=void 0,this._$AM=t,this.options=n}get _$AU(){return this._$AM._$AU}_$AI(e){Q(this,e)}},rn={M:gt,P:D,A:yt,C:1,L:sn,R:we,D:en,V:Q,I:Z,H:W,N:ke,U:Te,B:$e,F:Se},gi=mt.litHtmlPolyfillSupport;gi?.(me,Z),(mt.litHtmlVersions??=[]).push("3.3.3");var on=(i,e,t)=>{let n=t?.renderBefore??e,s=n._$litPart$;if(s===void 0){let r=t?.renderBefore??null;n._$litPart$=s=new Z(e.insertBefore(pe(),r),r,void 0,t??{})}return s._$AI(i),s};var bt=globalThis,O=class extends N{constructor(){super(...arguments),this.renderOptions={host:this},this._$Do=void 0}createRenderRoot(){let e=super.createRenderRoot();return this.renderOptions.renderBefore??=e.firstChild,e}update(e){let t=this.render();this.hasUpdated||(this.renderOptions.isConnected=this.isConnected),super.update(e),this._$Do=on(t,this.renderRoot,this.renderOptions)}connectedCallback(){super.connectedCallback(),this._$Do?.setConnected(!0)}disconnectedCallback(){super.disconnectedCallback(),this._$Do?.setConnected(!1)}render(){return R}};O._$litElement$=!0,O.finalized=!0,bt.litElementHydrateSupport?.({LitElement:O});var yi=bt.litElementPolyfillSupport;yi?.({LitElement:O});(bt.litElementVersions??=[]).push("4.2.2");var x=class extends Error{constructor(t,n,s=0,r=0,o={}){super(n);this.code=t;this.status=s;this.retryAfterS=r;this.name="NealyticsError",this.detail=o.detail,this.field=o.field,this.requestId=o.requestId}get needsToken(){return this.status===401||this.code==="no_token"||this.code==="token_failed"}};function xt(i,e=200,t=0){let n=typeof i=="object"&&i!==null?i:{},s=[n.message??`status ${e}`,n.detail].filter(Boolean).join(". ");return new x(n.code??"http",s,e,t,n)}async function an(i){let e=i.headers.get("Retry-After")??"",t=/^\d+$/.test(e)?Number(e):Math.max(0,(Date.parse(e)-Date.now())/1e3)||0,n=await i.json().catch(()=>{});return xt(n,i.status,t)}async function*ln(i){let e=i.getReader(),t=new TextDecoder,n="";try{for(;;){let{done:s,value:r}=await e.read().catch(a=>{throw new x("offline",String(a))}),o=(n+t.decode(r,{stream:!s})).split(`
`);n=s?"":o.pop();for(let a of o)a&&(yield a);if(s)return}}finally{await e.cancel().catch(()=>{})}}var _i=6e4,vi=3e4,bi=["exp","iat","nbf","jti","auth_time"],Ee=class{constructor(e,t=()=>{}){this.getToken=e;this.onOther=t}#e="";#t=0;#i;#n=0;#s=0;#r;async get(){for(;;){if(this.#e&&Date.now()<this.#a)return this.#e;let e=this.#s,t=await(this.#i??=this.#o(e));if(e===this.#s)return t}}forget(e){e!==void 0&&e!==this.#e||(this.#e="",e===void 0&&(this.#s+=1,this.#i=void 0,this.#r=void 0))}expire(){this.#e=""}saw(e){let t=Date.parse(e??"");t&&(this.#n=t-Date.now())}async#o(e){try{let t=await this.#l();return e===this.#s&&this.#c(t),t}finally{e===this.#s&&(this.#i=void 0)}}async#l(){if(!this.getToken)throw new x("no_token","set getToken: a function that gives a token for reading");let e;try{e=await xi(vi,this.getToken())}catch(t){throw t instanceof x?t:new x("token_failed",`getToken failed: ${t instanceof Error?t.message:String(t)}`)}if(typeof e!="string"||!/^\s*[\w-]+\.[\w-]+\.[\w-]+\s*$/.test(e))throw new x("token_failed","getToken did not give a token: three parts joined by dots");return e.trim()}get#a(){let e=cn(this.#e).exp;if(typeof e!="number")return Number.POSITIVE_INFINITY;let t=e*1e3-this.#n;return t-Math.min(_i,Math.max(0,(t-this.#t)/2))}#c(e){this.#e=e,this.#t=Date.now();let t=this.#r;this.#r=wi(e),t!==void 0&&t!==this.#r&&this.onOther()}};async function xi(i,e){let t,n=new Promise((s,r)=>{t=setTimeout(()=>r(new x("token_failed",`getToken gave no token in ${i/1e3} s`)),i)});try{return await Promise.race([e,n])}finally{clearTimeout(t)}}function wi(i){let e=Object.entries(cn(i)).filter(([t])=>!bi.includes(t));return e.length>0?JSON.stringify(e.sort(([t],[n])=>t<n?-1:1)):i}function cn(i){try{let e=(i.split(".")[1]??"").replaceAll("-","+").replaceAll("_","/"),t=Uint8Array.from(atob(e),n=>n.charCodeAt(0));return JSON.parse(new TextDecoder().decode(t))}catch{return{}}}var Ae=class{constructor(e,t,n=()=>{}){this.base=e;this.onOther=n;this.#e=new Ee(t,()=>{this.owner=void 0,this.onOther()})}#e;forgetToken(){this.#e.forget(),this.owner=void 0}expireToken(){this.#e.expire()}renewToken(){this.#e.get().catch(()=>{})}async ask(e,t,n,s){let r=JSON.stringify({...e,queries:t}),o={"Content-Type":"application/json",Accept:"application/x-ndjson"},a=await this.fetch("api/v1/analytics/query",{method:"POST",body:r,headers:o,signal:s});for await(let l of ln(a.body)){s.throwIfAborted();let{projectId:c,tenantId:p,results:d={}}=JSON.parse(l);c!==void 0&&this.#t({projectId:c,...p!==void 0&&{tenantId:p}},s);let h=Object.entries(d).map(([m,g])=>[m,g.error?xt(g.error):g]);n(Object.fromEntries(h))}}#t(e,t){let n=this.owner;this.owner=e,!(!n||n.projectId===e.projectId&&n.tenantId===e.tenantId)&&(this.onOther(),t.throwIfAborted())}async fetch(e,t){if(!this.base)throw new x("no_src","set src: the address of the node, such as https://analytics.example.com");for(let n=!1;;n=!0){let s=await this.#e.get();t.signal?.throwIfAborted();let r={...t.headers,Authorization:`Bearer ${s}`},o;try{o=await fetch(new URL(e,this.base),{...t,headers:r,credentials:"omit"})}catch(a){throw t.signal?.aborted?a:new x("offline",a instanceof Error?a.message:String(a))}if(this.#e.saw(o.headers.get("Date")),o.ok)return o;if(o.status===401&&this.#e.forget(s),o.status!==401||n)throw await an(o)}}};var G=["today","yesterday","7d","30d","90d","this_month","last_month"],Y=["none","previous","year"];function wt(i,e){return new Intl.DateTimeFormat("sv-SE",{timeZone:i,dateStyle:"short"}).format(e)}function I(i){return/^\d{4}-\d\d-\d\d$/.test(i)&&!Number.isNaN(Date.parse(i))&&A(i,0)===i}function A(i,e){return un(new Date(Date.parse(i)+e*864e5))}function L(i,e){let t=new Date(i),n=new Date(Date.UTC(t.getUTCFullYear(),t.getUTCMonth()+e,1)),s=new Date(Date.UTC(n.getUTCFullYear(),n.getUTCMonth()+1,0)).getUTCDate();return n.setUTCDate(Math.min(t.getUTCDate(),s)),un(n)}function dn(i){return Math.round((Date.parse(i.to)-Date.parse(i.from))/864e5)+1}function Me(i){return i.preset??`${i.from}..${i.to}`}function P(i,e){let t=`${e.slice(0,8)}01`;switch(i){case"today":return{preset:i,from:e,to:e};case"yesterday":return{preset:i,from:A(e,-1),to:A(e,-1)};case"this_month":return{preset:i,from:t,to:e};case"last_month":return{preset:i,from:L(t,-1),to:A(t,-1)};default:return{preset:i,from:A(e,1-Number.parseInt(i,10)),to:e}}}function hn(i,e){if(e!=="none"){if(e==="year")return{from:L(i.from,-12),to:L(i.to,-12)};if(i.from.endsWith("-01")&&A(i.to,1).endsWith("-01")){let t=$i(i.from,A(i.to,1));return{from:L(i.from,-t),to:A(i.from,-1)}}return i.preset==="this_month"?{from:L(i.from,-1),to:L(i.to,-1)}:{from:A(i.from,-dn(i)),to:A(i.from,-1)}}}function Re(i){let e=dn(i);return e<=2?"hour":e<=92?"day":e<=731?"week":"month"}function $i(i,e){let[t,n]=[new Date(i),new Date(e)];return(n.getUTCFullYear()-t.getUTCFullYear())*12+n.getUTCMonth()-t.getUTCMonth()}function un(i){return i.toISOString().slice(0,10)}var Pe=class{constructor(e,t){this.page=e;this.prefix=t;this.#e=this.#t()}#e;write(e){let t=new URL(e);for(let[n,s]of Object.entries(this.#t())){let r=`${this.prefix}-${n}`;if(t.searchParams.delete(r),String(s)!==String(this.#e[n]))for(let o of s.length>0?s:[""])t.searchParams.append(r,o)}return t.href}read(e){let t=new URL(e).searchParams,n=c=>{let p=t.getAll(`${this.prefix}-${c}`);return p.length>0?p.filter(Boolean):this.#e[c]??[]},s=this.#t(),[r=""]=n("range"),[o="",a=""]=r.split("..");r!==s.range?.[0]&&(G.includes(r)?this.page.range=P(r,this.page.today):I(o)&&I(a)&&o<=a&&(this.page.range={from:o,to:a}));let[l=""]=n("compare");l!==this.page.comparison&&Y.includes(l)&&(this.page.comparison=l),String(n("filter"))!==String(s.filter)&&(this.page.filters=n("filter"))}#t(){let{range:e,comparison:t,filters:n}=this.page;return{range:[Me(e)],compare:[t],filter:n}}};var ee={today:"Today",yesterday:"Yesterday","7d":"Last 7 days","30d":"Last 30 days","90d":"Last 90 days",this_month:"This month",last_month:"Last month",custom:"Custom range",from:"From",to:"To",apply:"Apply",compare:"Compare",compare_none:"No comparison",compare_previous:"Previous period",compare_year:"Previous year",events:"Events",sessions:"Sessions",users:"Users",eventsPerSession:"Events per session",medianSessionDurationSeconds:"Median visit",bounceShare:"Bounce rate",event_type:"Event types",item_id:"Pages and items",user_id:"Users",tenant_id:"Tenants",session_id:"Sessions",other:"Other",total:"Total",share:"Share",value:"Value",time:"Time",previous:"Previous",funnel:"Funnel",retention:"Retention",cohort:"First seen",paths:"Paths",paths_next:"What comes next",paths_previous:"What came before",direction:"Direction",start:"Start",after:"After {0}",before:"Before {0}",nothing_more:"Nothing more",active_users:"Active users",active_sessions:"Active sessions",daily:"In a day",weekly:"In 7 days",monthly:"In 30 days",stickiness:"Stickiness",stickiness_hint:"of those active in 30 days come on an average day",timeline:"Events one by one",all_events:"All events",user:"User",session:"Session",whole_session:"Whole session",all_of_user:"All of this user",newer:"Newer",older:"Older",heatmap:"Hours of the week",weekday:"Weekday",hour:"Hour",live:"Live",live_connecting:"Connecting",live_connected:"Connected",live_reconnecting:"Reconnecting",live_paused:"Paused",live_failed:"Disconnected",live_behind:"{0} new",live_empty:"Nothing has happened yet",live_hint:"Events appear here as they come in.",pause:"Pause",size:"People",median_time:"median",filter:"Filter",remove_filter:"Remove filter",download_csv:"Download CSV",download_all:"Download all events",copy_link:"Copy link",copied:"Link copied",all_tenants:"All tenants",export_failed:"The download failed",copy_failed:"The browser does not allow copying",print:"Print",more:"More",loading:"Loading",empty:"No data in this period",empty_hint:"Choose a longer period or remove a filter.",error:"This chart could not be loaded",offline:"You seem to be offline",expired:"Your sign-in has ended",expired_hint:"Sign in again to see your data.",busy:"Too many requests at the moment",too_large:"Too much data for one chart",too_large_hint:"Choose a shorter period or add a filter.",retry:"Try again",no_change:"no change",up:"up {0}",down:"down {0}",chart_summary:"{0}, {1}: {2}.",chart_peak:"Most on {0}: {1}."};var ki=200,pn=6e4,Ti=6e4,Ce=class extends EventTarget{#e=Si();#t;#i="previous";#n=[];#s=new Set;#r=new Map;#o=new Set;#l=!1;#a=new Set;#c=new WeakMap;#d;#p;#m;#y=0;#h=!1;#f=!1;constructor(e,t){super(),this.client=new Ae(e,t,()=>this.#_()),this.#t=P("30d",this.today)}get today(){return wt(this.#e,new Date)}get range(){return this.#t}set range(e){this.#t=e,this.#u("nealytics-range-change",this.#g)}get tz(){return this.#e}set tz(e){wt(e,new Date),this.#e=e,this.#t.preset&&(this.#t=P(this.#t.preset,this.today)),this.#u("nealytics-range-change",this.#g)}get comparison(){return this.#i}set comparison(e){this.#i=e,this.#u("nealytics-range-change",this.#g)}get filters(){return this.#n}set filters(e){this.#n=[...new Set(e)],this.#u("nealytics-filter-change",{filters:this.#n})}get comparedRange(){return hn(this.#t,this.#i)}get interval(){return Re(this.#t)}get shared(){return{from:this.#t.from,to:this.#t.to,tz:this.#e,filter:this.#n}}addFilter(...e){e.every(t=>this.#n.includes(t))||(this.filters=[...this.#n,...e])}removeFilter(e){this.filters=this.#n.filter(t=>t!==e)}add(e){this.#s.add(e),this.#o.add(e),this.#k(),this.#p===void 0&&(this.#p=setInterval(this.#v,pn),window.addEventListener("online",this.#v),document.addEventListener("visibilitychange",this.#v))}remove(e){this.#s.delete(e),this.#o.delete(e),!(this.#s.size>0)&&(clearInterval(this.#p),clearTimeout(this.#m),this.#p=void 0,window.removeEventListener("online",this.#v),document.removeEventListener("visibilitychange",this.#v),this.#$())}askAgain(e){this.#o.add(e),this.#k()}retry(e){this.#h?this.refresh():this.askAgain(e)}refresh(){for(let e of this.#s)this.#o.add(e);this.#k()}renew(e=this.client.base){this.client.base=e,this.client.forgetToken(),this.#_()}#_(){this.#r.clear(),this.dispatchEvent(new CustomEvent("renewed")),this.#w()}get#g(){return{...this.#t,comparison:this.#i,tz:this.#e}}#u(e,t){this.dispatchEvent(new CustomEvent("change")),this.#b(e,t),this.#w()}#w(){this.#d=void 0,this.#$(),this.refresh()}#$(){for(let{abort:e}of this.#a)e.abort();this.#a.clear()}#b(e,t){this.dispatchEvent(new CustomEvent(e,{detail:t}))}#x({code:e,message:t,status:n},s){let r={code:e,message:t,status:n,...s&&{endpoint:s.endpoint}};this.#b("nealytics-error",r)}#v=e=>{if(!document.hidden&&!(e?.type==="visibilitychange"&&!this.#h&&Date.now()<this.#y+pn)){if(this.#h||this.client.renewToken(),this.#t.preset){let t=P(this.#t.preset,this.today);if(t.from!==this.#t.from||t.to!==this.#t.to){this.range=t;return}}(this.#h||this.#t.to>=this.today)&&this.refresh()}};#k(){this.#l||(this.#l=!0,setTimeout(()=>{this.#l=!1,this.#T()}))}async#T(){let e=[...this.#o].filter(d=>this.#s.has(d)).sort((d,h)=>+(d.last??!1)-+(h.last??!1));this.#o=new Set;let t=this.#d??=this.shared,n=e.map(d=>({asker:d,questions:d.questions(this)})),s=new Map;for(let{questions:d}of n)for(let h of Object.values(d)){let m=JSON.stringify([t,h]);this.#r.has(m)||s.set(m,h)}let r=[...s.keys()],o=new Map(this.#r),a=!1,l=new Set(n),c=()=>{if(t===this.#d)for(let d of l){let{asker:h,questions:m}=d,g=Object.entries(m).map(([_,y])=>[_,o.get(JSON.stringify([t,y]))]);g.some(([,_])=>_===void 0)||(l.delete(d),this.#c.get(h)===p&&h.receive(Object.fromEntries(g)))}},p={abort:new AbortController,askers:e};for(let d of e)this.#c.set(d,p);for(let d of this.#a)d.askers.some(h=>this.#c.get(h)===d)||(d.abort.abort(),this.#a.delete(d));if(r.length>0){for(let{asker:d}of n)d.waiting();this.#a.add(p),this.#y=Date.now(),clearTimeout(this.#m);try{let d=Object.fromEntries(r.map((h,m)=>[`q${m}`,s.get(h)]));if(await this.client.ask(t,d,h=>{for(let[m,g]of Object.entries(h)){let _=r[Number(m.slice(1))];o.set(_,g),g instanceof x?this.#x(g,s.get(_)):this.#E(t,g)&&this.#A(_,g)}c()},p.abort.signal),this.#h=!1,r.some(h=>!o.has(h)))throw new x("offline","the answer was cut off")}catch(d){if(p.abort.signal.aborted)return;let h=d instanceof x?d:new x("http",String(d));for(let m of r)o.has(m)||o.set(m,h);this.#x(h),a=this.#h=!0,this.#S(h.retryAfterS*1e3)}finally{this.#a.delete(p)}}c(),t===this.#d&&(this.#f||a||r.length===0||(this.#f=!0,setTimeout(()=>this.#b("nealytics-ready",{...this.#g,filters:this.#n}))))}#S(e){e===0||e>Ti||(this.#m=setTimeout(this.#v,e*(1+Math.random()/4)))}#E(e,t){return e.to<this.today&&!t.warnings}#A(e,t){this.#r.set(e,t),this.#r.size>ki&&this.#r.delete(this.#r.keys().next().value)}};function Si(){return Intl.DateTimeFormat().resolvedOptions().timeZone||"UTC"}var Ne=class{constructor(e,t,n){this.lang=e;this.tz=t;this.messages=n}#e=new Map;#t=new Map;text(e,...t){return(this.messages[e]??ee[e]).replace(/\{(\d)\}/g,(s,r)=>t[Number(r)]??"")}short(e){return Math.abs(e)<1e4?this.exact(e):this.#i({notation:"compact",maximumFractionDigits:1}).format(e)}exact(e){return this.#i({maximumFractionDigits:Math.abs(e)<100?1:0}).format(e)}percent(e){let t=Math.abs(e)<.1?1:0;return this.#i({style:"percent",maximumFractionDigits:t}).format(e)}change(e,t){if(t===void 0||t===0&&e===0)return;if(t===0)return{text:"",sign:1};let n=e/t-1,s=Math.round(Math.abs(n)*1e3)/1e3,r=s<1?1:0;return{text:this.#i({style:"percent",minimumFractionDigits:r,maximumFractionDigits:r}).format(s),sign:s===0?0:n>0?1:-1}}duration(e){let t=Math.round(e),n=o=>this.#i({minimumIntegerDigits:2,useGrouping:!1}).format(o),s=o=>this.#i({maximumFractionDigits:0}).format(o);if(t>=86400){let o=(l,c)=>this.#i({style:"unit",unit:c,unitDisplay:"narrow",maximumFractionDigits:0}).format(l),a=Math.floor(t%86400/3600);return[o(Math.floor(t/86400),"day"),a?o(a,"hour"):""].filter(Boolean).join(" ")}let r=`${n(Math.floor(t%3600/60))}:${n(t%60)}`;return t>=3600?`${s(Math.floor(t/3600))}:${r}`:`${s(Math.floor(t/60))}:${n(t%60)}`}bucket(e,t){return this.#n(Ei[t]).format(e)}tick(e,t){return this.#n(Ai[t]).format(e)}clock(e){return this.#n({hour:"numeric",minute:"2-digit",second:"2-digit"}).format(e)}weekday(e){return this.#n({timeZone:"UTC",weekday:"short"}).format(new Date(Date.UTC(2024,0,e)))}hour(e){return this.#n({timeZone:"UTC",hour:"numeric"}).format(new Date(Date.UTC(2024,0,1,e)))}days(e,t){let n={timeZone:"UTC",day:"numeric",month:"short",year:"numeric"};return this.#n(n).formatRange(new Date(e),new Date(t))}#i(e){return fn(this.#e,e,()=>new Intl.NumberFormat(this.lang,e))}#n(e){return fn(this.#t,e,()=>new Intl.DateTimeFormat(this.lang,{timeZone:this.tz,...e}))}},Ei={hour:{weekday:"short",day:"numeric",month:"short",hour:"numeric",minute:"2-digit"},day:{weekday:"short",day:"numeric",month:"long",year:"numeric"},week:{day:"numeric",month:"long",year:"numeric"},month:{month:"long",year:"numeric"}},Ai={hour:{hour:"numeric",minute:"2-digit"},day:{day:"numeric",month:"short"},week:{day:"numeric",month:"short"},month:{month:"short",year:"2-digit"}};function fn(i,e,t){let n=JSON.stringify(e),s=i.get(n);return s===void 0&&i.set(n,s=t()),s}var mn={de:{today:"Heute",yesterday:"Gestern","7d":"Letzte 7 Tage","30d":"Letzte 30 Tage","90d":"Letzte 90 Tage",this_month:"Dieser Monat",last_month:"Letzter Monat",custom:"Eigener Zeitraum",from:"Von",to:"Bis",apply:"Anwenden",compare:"Vergleichen",compare_none:"Kein Vergleich",compare_previous:"Vorheriger Zeitraum",compare_year:"Vorjahr",events:"Ereignisse",sessions:"Sitzungen",users:"Nutzer",eventsPerSession:"Ereignisse je Sitzung",medianSessionDurationSeconds:"Mittlere Dauer",bounceShare:"Absprungrate",event_type:"Ereignisse",item_id:"Seiten und Inhalte",user_id:"Nutzer",tenant_id:"Mandanten",session_id:"Sitzungen",other:"Andere",total:"Gesamt",share:"Anteil",value:"Wert",time:"Zeit",previous:"Zuvor",funnel:"Trichter",retention:"Wiederkehr",cohort:"Zuerst gesehen",paths:"Wege",paths_next:"Was danach kommt",paths_previous:"Was davor kam",direction:"Richtung",start:"Beginn",after:"Nach {0}",before:"Vor {0}",nothing_more:"Nichts weiter",active_users:"Aktive Nutzer",active_sessions:"Aktive Sitzungen",daily:"An einem Tag",weekly:"In 7 Tagen",monthly:"In 30 Tagen",stickiness:"Bindung",stickiness_hint:"der in 30 Tagen Aktiven kommen an einem Durchschnittstag",timeline:"Einzelne Ereignisse",all_events:"Alle Ereignisse",user:"Nutzer",session:"Sitzung",whole_session:"Ganze Sitzung",all_of_user:"Alles von diesem Nutzer",newer:"Neuere",older:"\xC4ltere",heatmap:"Stunden der Woche",weekday:"Wochentag",hour:"Stunde",live:"Live",live_connecting:"Verbindet",live_connected:"Verbunden",live_reconnecting:"Verbindet neu",live_paused:"Angehalten",live_failed:"Getrennt",live_behind:"{0} neu",live_empty:"Noch ist nichts geschehen",live_hint:"Ereignisse erscheinen hier, sobald sie eintreffen.",pause:"Anhalten",size:"Personen",median_time:"Median",filter:"Filtern",remove_filter:"Filter entfernen",download_csv:"Als CSV laden",download_all:"Alle Ereignisse laden",copy_link:"Link kopieren",copied:"Link kopiert",all_tenants:"Alle Mandanten",export_failed:"Der Download ist fehlgeschlagen",copy_failed:"Der Browser erlaubt das Kopieren nicht",print:"Drucken",more:"Mehr",loading:"L\xE4dt",empty:"Keine Daten in diesem Zeitraum",empty_hint:"W\xE4hle einen l\xE4ngeren Zeitraum oder entferne einen Filter.",error:"Dieses Diagramm konnte nicht geladen werden",offline:"Du scheinst offline zu sein",expired:"Deine Anmeldung ist abgelaufen",expired_hint:"Melde dich neu an, um deine Daten zu sehen.",busy:"Gerade zu viele Anfragen",too_large:"Zu viele Daten f\xFCr ein Diagramm",too_large_hint:"W\xE4hle einen k\xFCrzeren Zeitraum oder f\xFCge einen Filter hinzu.",retry:"Erneut versuchen",no_change:"unver\xE4ndert",up:"plus {0}",down:"minus {0}",chart_summary:"{0}, {1}: {2}.",chart_peak:"Am meisten am {0}: {1}."},fr:{today:"Aujourd\u2019hui",yesterday:"Hier","7d":"7 derniers jours","30d":"30 derniers jours","90d":"90 derniers jours",this_month:"Ce mois-ci",last_month:"Le mois dernier",custom:"P\xE9riode personnalis\xE9e",from:"Du",to:"Au",apply:"Appliquer",compare:"Comparer",compare_none:"Sans comparaison",compare_previous:"P\xE9riode pr\xE9c\xE9dente",compare_year:"Ann\xE9e pr\xE9c\xE9dente",events:"\xC9v\xE9nements",sessions:"Sessions",users:"Utilisateurs",eventsPerSession:"\xC9v\xE9nements par session",medianSessionDurationSeconds:"Visite m\xE9diane",bounceShare:"Taux de rebond",event_type:"Types d\u2019\xE9v\xE9nements",item_id:"Pages et contenus",user_id:"Utilisateurs",tenant_id:"Clients",session_id:"Sessions",other:"Autres",total:"Total",share:"Part",value:"Valeur",time:"Heure",previous:"Pr\xE9c\xE9dent",funnel:"Entonnoir",retention:"R\xE9tention",cohort:"Premi\xE8re visite",paths:"Parcours",paths_next:"Ce qui suit",paths_previous:"Ce qui pr\xE9c\xE8de",direction:"Sens",start:"D\xE9part",after:"Apr\xE8s {0}",before:"Avant {0}",nothing_more:"Rien de plus",active_users:"Utilisateurs actifs",active_sessions:"Sessions actives",daily:"En un jour",weekly:"En 7 jours",monthly:"En 30 jours",stickiness:"Fid\xE9lit\xE9",stickiness_hint:"des actifs sur 30 jours viennent un jour moyen",timeline:"\xC9v\xE9nements un par un",all_events:"Tous les \xE9v\xE9nements",user:"Utilisateur",session:"Session",whole_session:"Toute la session",all_of_user:"Tout de cet utilisateur",newer:"Plus r\xE9cents",older:"Plus anciens",heatmap:"Heures de la semaine",weekday:"Jour",hour:"Heure",live:"En direct",live_connecting:"Connexion",live_connected:"Connect\xE9",live_reconnecting:"Reconnexion",live_paused:"En pause",live_failed:"D\xE9connect\xE9",live_behind:"{0} de plus",live_empty:"Rien ne s\u2019est encore pass\xE9",live_hint:"Les \xE9v\xE9nements s\u2019affichent ici d\xE8s leur arriv\xE9e.",pause:"Mettre en pause",size:"Personnes",median_time:"m\xE9diane",filter:"Filtrer",remove_filter:"Retirer le filtre",download_csv:"T\xE9l\xE9charger en CSV",download_all:"T\xE9l\xE9charger tous les \xE9v\xE9nements",copy_link:"Copier le lien",copied:"Lien copi\xE9",all_tenants:"Tous les clients",export_failed:"Le t\xE9l\xE9chargement a \xE9chou\xE9",copy_failed:"Le navigateur n\u2019autorise pas la copie",print:"Imprimer",more:"Plus",loading:"Chargement",empty:"Aucune donn\xE9e sur cette p\xE9riode",empty_hint:"Choisissez une p\xE9riode plus longue ou retirez un filtre.",error:"Ce graphique n\u2019a pas pu \xEAtre charg\xE9",offline:"Vous semblez \xEAtre hors ligne",expired:"Votre session a expir\xE9",expired_hint:"Reconnectez-vous pour voir vos donn\xE9es.",busy:"Trop de demandes en ce moment",too_large:"Trop de donn\xE9es pour un graphique",too_large_hint:"Choisissez une p\xE9riode plus courte ou ajoutez un filtre.",retry:"R\xE9essayer",no_change:"inchang\xE9",up:"en hausse de {0}",down:"en baisse de {0}",chart_summary:"{0}, {1} : {2}.",chart_peak:"Maximum le {0} : {1}."},es:{today:"Hoy",yesterday:"Ayer","7d":"\xDAltimos 7 d\xEDas","30d":"\xDAltimos 30 d\xEDas","90d":"\xDAltimos 90 d\xEDas",this_month:"Este mes",last_month:"El mes pasado",custom:"Per\xEDodo personalizado",from:"Desde",to:"Hasta",apply:"Aplicar",compare:"Comparar",compare_none:"Sin comparaci\xF3n",compare_previous:"Per\xEDodo anterior",compare_year:"A\xF1o anterior",events:"Eventos",sessions:"Sesiones",users:"Usuarios",eventsPerSession:"Eventos por sesi\xF3n",medianSessionDurationSeconds:"Visita mediana",bounceShare:"Tasa de rebote",event_type:"Tipos de evento",item_id:"P\xE1ginas y contenidos",user_id:"Usuarios",tenant_id:"Clientes",session_id:"Sesiones",other:"Otros",total:"Total",share:"Porcentaje",value:"Valor",time:"Hora",previous:"Anterior",funnel:"Embudo",retention:"Retenci\xF3n",cohort:"Primera visita",paths:"Recorridos",paths_next:"Qu\xE9 viene despu\xE9s",paths_previous:"Qu\xE9 hubo antes",direction:"Direcci\xF3n",start:"Inicio",after:"Despu\xE9s de {0}",before:"Antes de {0}",nothing_more:"Nada m\xE1s",active_users:"Usuarios activos",active_sessions:"Sesiones activas",daily:"En un d\xEDa",weekly:"En 7 d\xEDas",monthly:"En 30 d\xEDas",stickiness:"Fidelidad",stickiness_hint:"de los activos en 30 d\xEDas vienen un d\xEDa medio",timeline:"Eventos uno a uno",all_events:"Todos los eventos",user:"Usuario",session:"Sesi\xF3n",whole_session:"Sesi\xF3n completa",all_of_user:"Todo de este usuario",newer:"M\xE1s recientes",older:"M\xE1s antiguos",heatmap:"Horas de la semana",weekday:"D\xEDa",hour:"Hora",live:"En vivo",live_connecting:"Conectando",live_connected:"Conectado",live_reconnecting:"Reconectando",live_paused:"En pausa",live_failed:"Desconectado",live_behind:"{0} m\xE1s",live_empty:"Todav\xEDa no ha ocurrido nada",live_hint:"Los eventos aparecen aqu\xED en cuanto llegan.",pause:"Pausar",size:"Personas",median_time:"mediana",filter:"Filtrar",remove_filter:"Quitar filtro",download_csv:"Descargar CSV",download_all:"Descargar todos los eventos",copy_link:"Copiar enlace",copied:"Enlace copiado",all_tenants:"Todos los clientes",export_failed:"La descarga ha fallado",copy_failed:"El navegador no permite copiar",print:"Imprimir",more:"M\xE1s",loading:"Cargando",empty:"No hay datos en este per\xEDodo",empty_hint:"Elige un per\xEDodo m\xE1s largo o quita un filtro.",error:"No se pudo cargar este gr\xE1fico",offline:"Parece que no tienes conexi\xF3n",expired:"Tu sesi\xF3n ha caducado",expired_hint:"Vuelve a iniciar sesi\xF3n para ver tus datos.",busy:"Demasiadas solicitudes en este momento",too_large:"Demasiados datos para un gr\xE1fico",too_large_hint:"Elige un per\xEDodo m\xE1s corto o a\xF1ade un filtro.",retry:"Reintentar",no_change:"sin cambios",up:"sube {0}",down:"baja {0}",chart_summary:"{0}, {1}: {2}.",chart_peak:"M\xE1ximo el {0}: {1}."},pt:{today:"Hoje",yesterday:"Ontem","7d":"\xDAltimos 7 dias","30d":"\xDAltimos 30 dias","90d":"\xDAltimos 90 dias",this_month:"Este m\xEAs",last_month:"M\xEAs passado",custom:"Per\xEDodo personalizado",from:"De",to:"At\xE9",apply:"Aplicar",compare:"Comparar",compare_none:"Sem compara\xE7\xE3o",compare_previous:"Per\xEDodo anterior",compare_year:"Ano anterior",events:"Eventos",sessions:"Sess\xF5es",users:"Usu\xE1rios",eventsPerSession:"Eventos por sess\xE3o",medianSessionDurationSeconds:"Visita mediana",bounceShare:"Taxa de rejei\xE7\xE3o",event_type:"Tipos de evento",item_id:"P\xE1ginas e conte\xFAdos",user_id:"Usu\xE1rios",tenant_id:"Clientes",session_id:"Sess\xF5es",other:"Outros",total:"Total",share:"Parcela",value:"Valor",time:"Hora",previous:"Anterior",funnel:"Funil",retention:"Reten\xE7\xE3o",cohort:"Primeira visita",paths:"Caminhos",paths_next:"O que vem depois",paths_previous:"O que veio antes",direction:"Dire\xE7\xE3o",start:"In\xEDcio",after:"Depois de {0}",before:"Antes de {0}",nothing_more:"Nada mais",active_users:"Usu\xE1rios ativos",active_sessions:"Sess\xF5es ativas",daily:"Em um dia",weekly:"Em 7 dias",monthly:"Em 30 dias",stickiness:"Fidelidade",stickiness_hint:"dos ativos em 30 dias v\xEAm em um dia m\xE9dio",timeline:"Eventos um a um",all_events:"Todos os eventos",user:"Usu\xE1rio",session:"Sess\xE3o",whole_session:"Sess\xE3o completa",all_of_user:"Tudo deste usu\xE1rio",newer:"Mais recentes",older:"Mais antigos",heatmap:"Horas da semana",weekday:"Dia da semana",hour:"Hora",live:"Ao vivo",live_connecting:"Conectando",live_connected:"Conectado",live_reconnecting:"Reconectando",live_paused:"Em pausa",live_failed:"Desconectado",live_behind:"Mais {0}",live_empty:"Ainda n\xE3o aconteceu nada",live_hint:"Os eventos aparecem aqui assim que chegam.",pause:"Pausar",size:"Pessoas",median_time:"mediana",filter:"Filtrar",remove_filter:"Remover filtro",download_csv:"Baixar CSV",download_all:"Baixar todos os eventos",copy_link:"Copiar link",copied:"Link copiado",all_tenants:"Todos os clientes",export_failed:"O download falhou",copy_failed:"O navegador n\xE3o permite copiar",print:"Imprimir",more:"Mais",loading:"Carregando",empty:"N\xE3o h\xE1 dados neste per\xEDodo",empty_hint:"Escolha um per\xEDodo maior ou remova um filtro.",error:"N\xE3o foi poss\xEDvel carregar este gr\xE1fico",offline:"Parece que voc\xEA est\xE1 offline",expired:"Sua sess\xE3o expirou",expired_hint:"Entre novamente para ver seus dados.",busy:"Muitas solicita\xE7\xF5es no momento",too_large:"Dados demais para um gr\xE1fico",too_large_hint:"Escolha um per\xEDodo menor ou adicione um filtro.",retry:"Tentar de novo",no_change:"sem altera\xE7\xE3o",up:"alta de {0}",down:"queda de {0}",chart_summary:"{0}, {1}: {2}.",chart_peak:"M\xE1ximo em {0}: {1}."},ja:{today:"\u4ECA\u65E5",yesterday:"\u6628\u65E5","7d":"\u904E\u53BB7\u65E5\u9593","30d":"\u904E\u53BB30\u65E5\u9593","90d":"\u904E\u53BB90\u65E5\u9593",this_month:"\u4ECA\u6708",last_month:"\u5148\u6708",custom:"\u671F\u9593\u3092\u6307\u5B9A",from:"\u958B\u59CB\u65E5",to:"\u7D42\u4E86\u65E5",apply:"\u9069\u7528",compare:"\u6BD4\u8F03",compare_none:"\u6BD4\u8F03\u3057\u306A\u3044",compare_previous:"\u524D\u306E\u671F\u9593",compare_year:"\u524D\u5E74",events:"\u30A4\u30D9\u30F3\u30C8",sessions:"\u30BB\u30C3\u30B7\u30E7\u30F3",users:"\u30E6\u30FC\u30B6\u30FC",eventsPerSession:"\u30BB\u30C3\u30B7\u30E7\u30F3\u3042\u305F\u308A\u306E\u30A4\u30D9\u30F3\u30C8",medianSessionDurationSeconds:"\u6EDE\u5728\u6642\u9593\u306E\u4E2D\u592E\u5024",bounceShare:"\u76F4\u5E30\u7387",event_type:"\u30A4\u30D9\u30F3\u30C8\u306E\u7A2E\u985E",item_id:"\u30DA\u30FC\u30B8\u3068\u30A2\u30A4\u30C6\u30E0",user_id:"\u30E6\u30FC\u30B6\u30FC",tenant_id:"\u30C6\u30CA\u30F3\u30C8",session_id:"\u30BB\u30C3\u30B7\u30E7\u30F3",other:"\u305D\u306E\u4ED6",total:"\u5408\u8A08",share:"\u5272\u5408",value:"\u5024",time:"\u65E5\u6642",previous:"\u524D\u56DE",funnel:"\u30D5\u30A1\u30CD\u30EB",retention:"\u30EA\u30C6\u30F3\u30B7\u30E7\u30F3",cohort:"\u521D\u56DE\u8A2A\u554F",paths:"\u7D4C\u8DEF",paths_next:"\u6B21\u306E\u884C\u52D5",paths_previous:"\u524D\u306E\u884C\u52D5",direction:"\u65B9\u5411",start:"\u8D77\u70B9",after:"{0} \u306E\u5F8C",before:"{0} \u306E\u524D",nothing_more:"\u4EE5\u964D\u306A\u3057",active_users:"\u30A2\u30AF\u30C6\u30A3\u30D6\u30E6\u30FC\u30B6\u30FC",active_sessions:"\u30A2\u30AF\u30C6\u30A3\u30D6\u30BB\u30C3\u30B7\u30E7\u30F3",daily:"1\u65E5",weekly:"7\u65E5\u9593",monthly:"30\u65E5\u9593",stickiness:"\u5B9A\u7740\u7387",stickiness_hint:"30\u65E5\u9593\u306E\u30A2\u30AF\u30C6\u30A3\u30D6\u306E\u3046\u3061\u30011\u65E5\u306B\u8A2A\u308C\u308B\u5E73\u5747\u306E\u5272\u5408",timeline:"\u30A4\u30D9\u30F3\u30C8\u4E00\u89A7",all_events:"\u3059\u3079\u3066\u306E\u30A4\u30D9\u30F3\u30C8",user:"\u30E6\u30FC\u30B6\u30FC",session:"\u30BB\u30C3\u30B7\u30E7\u30F3",whole_session:"\u30BB\u30C3\u30B7\u30E7\u30F3\u5168\u4F53",all_of_user:"\u3053\u306E\u30E6\u30FC\u30B6\u30FC\u306E\u3059\u3079\u3066",newer:"\u65B0\u3057\u3044",older:"\u53E4\u3044",heatmap:"\u66DC\u65E5\u3068\u6642\u9593\u5E2F",weekday:"\u66DC\u65E5",hour:"\u6642",live:"\u30E9\u30A4\u30D6",live_connecting:"\u63A5\u7D9A\u4E2D",live_connected:"\u63A5\u7D9A\u6E08\u307F",live_reconnecting:"\u518D\u63A5\u7D9A\u4E2D",live_paused:"\u4E00\u6642\u505C\u6B62\u4E2D",live_failed:"\u5207\u65AD\u3055\u308C\u307E\u3057\u305F",live_behind:"\u65B0\u7740 {0} \u4EF6",live_empty:"\u307E\u3060\u30A4\u30D9\u30F3\u30C8\u306F\u3042\u308A\u307E\u305B\u3093",live_hint:"\u65B0\u3057\u3044\u30A4\u30D9\u30F3\u30C8\u306F\u3053\u3053\u306B\u8868\u793A\u3055\u308C\u307E\u3059\u3002",pause:"\u4E00\u6642\u505C\u6B62",size:"\u4EBA\u6570",median_time:"\u4E2D\u592E\u5024",filter:"\u7D5E\u308A\u8FBC\u3080",remove_filter:"\u30D5\u30A3\u30EB\u30BF\u30FC\u3092\u89E3\u9664",download_csv:"CSV\u3092\u30C0\u30A6\u30F3\u30ED\u30FC\u30C9",download_all:"\u3059\u3079\u3066\u306E\u30A4\u30D9\u30F3\u30C8\u3092\u30C0\u30A6\u30F3\u30ED\u30FC\u30C9",copy_link:"\u30EA\u30F3\u30AF\u3092\u30B3\u30D4\u30FC",copied:"\u30B3\u30D4\u30FC\u3057\u307E\u3057\u305F",all_tenants:"\u3059\u3079\u3066\u306E\u30C6\u30CA\u30F3\u30C8",export_failed:"\u30C0\u30A6\u30F3\u30ED\u30FC\u30C9\u3067\u304D\u307E\u305B\u3093\u3067\u3057\u305F",copy_failed:"\u30D6\u30E9\u30A6\u30B6\u30FC\u304C\u30B3\u30D4\u30FC\u3092\u8A31\u53EF\u3057\u3066\u3044\u307E\u305B\u3093",print:"\u5370\u5237",more:"\u305D\u306E\u4ED6\u306E\u64CD\u4F5C",loading:"\u8AAD\u307F\u8FBC\u307F\u4E2D",empty:"\u3053\u306E\u671F\u9593\u306E\u30C7\u30FC\u30BF\u306F\u3042\u308A\u307E\u305B\u3093",empty_hint:"\u671F\u9593\u3092\u9577\u304F\u3059\u308B\u304B\u3001\u30D5\u30A3\u30EB\u30BF\u30FC\u3092\u89E3\u9664\u3057\u3066\u304F\u3060\u3055\u3044\u3002",error:"\u30B0\u30E9\u30D5\u3092\u8AAD\u307F\u8FBC\u3081\u307E\u305B\u3093\u3067\u3057\u305F",offline:"\u30AA\u30D5\u30E9\u30A4\u30F3\u306E\u3088\u3046\u3067\u3059",expired:"\u30B5\u30A4\u30F3\u30A4\u30F3\u306E\u6709\u52B9\u671F\u9650\u304C\u5207\u308C\u307E\u3057\u305F",expired_hint:"\u30C7\u30FC\u30BF\u3092\u8868\u793A\u3059\u308B\u306B\u306F\u3001\u3082\u3046\u4E00\u5EA6\u30B5\u30A4\u30F3\u30A4\u30F3\u3057\u3066\u304F\u3060\u3055\u3044\u3002",busy:"\u73FE\u5728\u30EA\u30AF\u30A8\u30B9\u30C8\u304C\u96C6\u4E2D\u3057\u3066\u3044\u307E\u3059",too_large:"\u30B0\u30E9\u30D5\u306B\u3059\u308B\u306B\u306F\u30C7\u30FC\u30BF\u304C\u591A\u3059\u304E\u307E\u3059",too_large_hint:"\u671F\u9593\u3092\u77ED\u304F\u3059\u308B\u304B\u3001\u30D5\u30A3\u30EB\u30BF\u30FC\u3092\u8FFD\u52A0\u3057\u3066\u304F\u3060\u3055\u3044\u3002",retry:"\u518D\u8A66\u884C",no_change:"\u5909\u5316\u306A\u3057",up:"{0} \u5897",down:"{0} \u6E1B",chart_summary:"{0}\u3001{1}\uFF1A{2}\u3002",chart_peak:"\u6700\u591A\u306F {0}\uFF1A{1}\u3002"},ar:{today:"\u0627\u0644\u064A\u0648\u0645",yesterday:"\u0623\u0645\u0633","7d":"\u0622\u062E\u0631 7 \u0623\u064A\u0627\u0645","30d":"\u0622\u062E\u0631 30 \u064A\u0648\u0645\u064B\u0627","90d":"\u0622\u062E\u0631 90 \u064A\u0648\u0645\u064B\u0627",this_month:"\u0647\u0630\u0627 \u0627\u0644\u0634\u0647\u0631",last_month:"\u0627\u0644\u0634\u0647\u0631 \u0627\u0644\u0645\u0627\u0636\u064A",custom:"\u0641\u062A\u0631\u0629 \u0645\u062E\u0635\u0635\u0629",from:"\u0645\u0646",to:"\u0625\u0644\u0649",apply:"\u062A\u0637\u0628\u064A\u0642",compare:"\u0645\u0642\u0627\u0631\u0646\u0629",compare_none:"\u0628\u062F\u0648\u0646 \u0645\u0642\u0627\u0631\u0646\u0629",compare_previous:"\u0627\u0644\u0641\u062A\u0631\u0629 \u0627\u0644\u0633\u0627\u0628\u0642\u0629",compare_year:"\u0627\u0644\u0633\u0646\u0629 \u0627\u0644\u0633\u0627\u0628\u0642\u0629",events:"\u0627\u0644\u0623\u062D\u062F\u0627\u062B",sessions:"\u0627\u0644\u062C\u0644\u0633\u0627\u062A",users:"\u0627\u0644\u0645\u0633\u062A\u062E\u062F\u0645\u0648\u0646",eventsPerSession:"\u0627\u0644\u0623\u062D\u062F\u0627\u062B \u0644\u0643\u0644 \u062C\u0644\u0633\u0629",medianSessionDurationSeconds:"\u0648\u0633\u064A\u0637 \u0645\u062F\u0629 \u0627\u0644\u0632\u064A\u0627\u0631\u0629",bounceShare:"\u0645\u0639\u062F\u0644 \u0627\u0644\u0627\u0631\u062A\u062F\u0627\u062F",event_type:"\u0623\u0646\u0648\u0627\u0639 \u0627\u0644\u0623\u062D\u062F\u0627\u062B",item_id:"\u0627\u0644\u0635\u0641\u062D\u0627\u062A \u0648\u0627\u0644\u0639\u0646\u0627\u0635\u0631",user_id:"\u0627\u0644\u0645\u0633\u062A\u062E\u062F\u0645\u0648\u0646",tenant_id:"\u0627\u0644\u0639\u0645\u0644\u0627\u0621",session_id:"\u0627\u0644\u062C\u0644\u0633\u0627\u062A",other:"\u0623\u062E\u0631\u0649",total:"\u0627\u0644\u0625\u062C\u0645\u0627\u0644\u064A",share:"\u0627\u0644\u0646\u0633\u0628\u0629",value:"\u0627\u0644\u0642\u064A\u0645\u0629",time:"\u0627\u0644\u0648\u0642\u062A",previous:"\u0627\u0644\u0633\u0627\u0628\u0642",funnel:"\u0645\u0633\u0627\u0631 \u0627\u0644\u062A\u062D\u0648\u064A\u0644",retention:"\u0627\u0644\u0627\u062D\u062A\u0641\u0627\u0638",cohort:"\u0623\u0648\u0644 \u0638\u0647\u0648\u0631",paths:"\u0627\u0644\u0645\u0633\u0627\u0631\u0627\u062A",paths_next:"\u0645\u0627 \u064A\u062D\u062F\u062B \u0628\u0639\u062F \u0630\u0644\u0643",paths_previous:"\u0645\u0627 \u062D\u062F\u062B \u0642\u0628\u0644 \u0630\u0644\u0643",direction:"\u0627\u0644\u0627\u062A\u062C\u0627\u0647",start:"\u0627\u0644\u0628\u062F\u0627\u064A\u0629",after:"\u0628\u0639\u062F {0}",before:"\u0642\u0628\u0644 {0}",nothing_more:"\u0644\u0627 \u0634\u064A\u0621 \u0628\u0639\u062F \u0630\u0644\u0643",active_users:"\u0627\u0644\u0645\u0633\u062A\u062E\u062F\u0645\u0648\u0646 \u0627\u0644\u0646\u0634\u0637\u0648\u0646",active_sessions:"\u0627\u0644\u062C\u0644\u0633\u0627\u062A \u0627\u0644\u0646\u0634\u0637\u0629",daily:"\u0641\u064A \u064A\u0648\u0645",weekly:"\u0641\u064A 7 \u0623\u064A\u0627\u0645",monthly:"\u0641\u064A 30 \u064A\u0648\u0645\u064B\u0627",stickiness:"\u0645\u0639\u062F\u0644 \u0627\u0644\u062A\u0639\u0644\u0642",stickiness_hint:"\u0645\u0646 \u0627\u0644\u0646\u0634\u0637\u064A\u0646 \u062E\u0644\u0627\u0644 30 \u064A\u0648\u0645\u064B\u0627 \u064A\u0623\u062A\u0648\u0646 \u0641\u064A \u0627\u0644\u064A\u0648\u0645 \u0627\u0644\u0645\u062A\u0648\u0633\u0637",timeline:"\u0627\u0644\u0623\u062D\u062F\u0627\u062B \u0648\u0627\u062D\u062F\u064B\u0627 \u062A\u0644\u0648 \u0627\u0644\u0622\u062E\u0631",all_events:"\u0643\u0644 \u0627\u0644\u0623\u062D\u062F\u0627\u062B",user:"\u0627\u0644\u0645\u0633\u062A\u062E\u062F\u0645",session:"\u0627\u0644\u062C\u0644\u0633\u0629",whole_session:"\u0627\u0644\u062C\u0644\u0633\u0629 \u0643\u0627\u0645\u0644\u0629",all_of_user:"\u0643\u0644 \u0623\u062D\u062F\u0627\u062B \u0647\u0630\u0627 \u0627\u0644\u0645\u0633\u062A\u062E\u062F\u0645",newer:"\u0627\u0644\u0623\u062D\u062F\u062B",older:"\u0627\u0644\u0623\u0642\u062F\u0645",heatmap:"\u0633\u0627\u0639\u0627\u062A \u0627\u0644\u0623\u0633\u0628\u0648\u0639",weekday:"\u0627\u0644\u064A\u0648\u0645",hour:"\u0627\u0644\u0633\u0627\u0639\u0629",live:"\u0645\u0628\u0627\u0634\u0631",live_connecting:"\u062C\u0627\u0631\u064D \u0627\u0644\u0627\u062A\u0635\u0627\u0644",live_connected:"\u0645\u062A\u0635\u0644",live_reconnecting:"\u062C\u0627\u0631\u064D \u0625\u0639\u0627\u062F\u0629 \u0627\u0644\u0627\u062A\u0635\u0627\u0644",live_paused:"\u0645\u062A\u0648\u0642\u0641 \u0645\u0624\u0642\u062A\u064B\u0627",live_failed:"\u063A\u064A\u0631 \u0645\u062A\u0635\u0644",live_behind:"{0} \u062C\u062F\u064A\u062F",live_empty:"\u0644\u0645 \u064A\u062D\u062F\u062B \u0634\u064A\u0621 \u0628\u0639\u062F",live_hint:"\u062A\u0638\u0647\u0631 \u0627\u0644\u0623\u062D\u062F\u0627\u062B \u0647\u0646\u0627 \u0641\u0648\u0631 \u0648\u0635\u0648\u0644\u0647\u0627.",pause:"\u0625\u064A\u0642\u0627\u0641 \u0645\u0624\u0642\u062A",size:"\u0627\u0644\u0623\u0634\u062E\u0627\u0635",median_time:"\u0627\u0644\u0648\u0633\u064A\u0637",filter:"\u062A\u0635\u0641\u064A\u0629",remove_filter:"\u0625\u0632\u0627\u0644\u0629 \u0639\u0627\u0645\u0644 \u0627\u0644\u062A\u0635\u0641\u064A\u0629",download_csv:"\u062A\u0646\u0632\u064A\u0644 CSV",download_all:"\u062A\u0646\u0632\u064A\u0644 \u0643\u0644 \u0627\u0644\u0623\u062D\u062F\u0627\u062B",copy_link:"\u0646\u0633\u062E \u0627\u0644\u0631\u0627\u0628\u0637",copied:"\u062A\u0645 \u0646\u0633\u062E \u0627\u0644\u0631\u0627\u0628\u0637",all_tenants:"\u0643\u0644 \u0627\u0644\u0639\u0645\u0644\u0627\u0621",export_failed:"\u062A\u0639\u0630\u0631 \u0627\u0644\u062A\u0646\u0632\u064A\u0644",copy_failed:"\u0644\u0627 \u064A\u0633\u0645\u062D \u0627\u0644\u0645\u062A\u0635\u0641\u062D \u0628\u0627\u0644\u0646\u0633\u062E",print:"\u0637\u0628\u0627\u0639\u0629",more:"\u0627\u0644\u0645\u0632\u064A\u062F",loading:"\u062C\u0627\u0631\u064D \u0627\u0644\u062A\u062D\u0645\u064A\u0644",empty:"\u0644\u0627 \u062A\u0648\u062C\u062F \u0628\u064A\u0627\u0646\u0627\u062A \u0641\u064A \u0647\u0630\u0647 \u0627\u0644\u0641\u062A\u0631\u0629",empty_hint:"\u0627\u062E\u062A\u0631 \u0641\u062A\u0631\u0629 \u0623\u0637\u0648\u0644 \u0623\u0648 \u0623\u0632\u0644 \u0623\u062D\u062F \u0639\u0648\u0627\u0645\u0644 \u0627\u0644\u062A\u0635\u0641\u064A\u0629.",error:"\u062A\u0639\u0630\u0631 \u062A\u062D\u0645\u064A\u0644 \u0647\u0630\u0627 \u0627\u0644\u0631\u0633\u0645 \u0627\u0644\u0628\u064A\u0627\u0646\u064A",offline:"\u064A\u0628\u062F\u0648 \u0623\u0646\u0643 \u063A\u064A\u0631 \u0645\u062A\u0635\u0644 \u0628\u0627\u0644\u0625\u0646\u062A\u0631\u0646\u062A",expired:"\u0627\u0646\u062A\u0647\u062A \u0635\u0644\u0627\u062D\u064A\u0629 \u062A\u0633\u062C\u064A\u0644 \u0627\u0644\u062F\u062E\u0648\u0644",expired_hint:"\u0633\u062C\u0651\u0644 \u0627\u0644\u062F\u062E\u0648\u0644 \u0645\u0631\u0629 \u0623\u062E\u0631\u0649 \u0644\u0639\u0631\u0636 \u0628\u064A\u0627\u0646\u0627\u062A\u0643.",busy:"\u0627\u0644\u0637\u0644\u0628\u0627\u062A \u0643\u062B\u064A\u0631\u0629 \u062C\u062F\u064B\u0627 \u0627\u0644\u0622\u0646",too_large:"\u0627\u0644\u0628\u064A\u0627\u0646\u0627\u062A \u0643\u062B\u064A\u0631\u0629 \u062C\u062F\u064B\u0627 \u0644\u0631\u0633\u0645 \u0628\u064A\u0627\u0646\u064A \u0648\u0627\u062D\u062F",too_large_hint:"\u0627\u062E\u062A\u0631 \u0641\u062A\u0631\u0629 \u0623\u0642\u0635\u0631 \u0623\u0648 \u0623\u0636\u0641 \u0639\u0627\u0645\u0644 \u062A\u0635\u0641\u064A\u0629.",retry:"\u0625\u0639\u0627\u062F\u0629 \u0627\u0644\u0645\u062D\u0627\u0648\u0644\u0629",no_change:"\u062F\u0648\u0646 \u062A\u063A\u064A\u064A\u0631",up:"\u0627\u0631\u062A\u0641\u0627\u0639 \u0628\u0646\u0633\u0628\u0629 {0}",down:"\u0627\u0646\u062E\u0641\u0627\u0636 \u0628\u0646\u0633\u0628\u0629 {0}",chart_summary:"{0}\u060C {1}: {2}.",chart_peak:"\u0627\u0644\u0623\u0643\u062B\u0631 \u0641\u064A {0}: {1}."}};var gn={ATTRIBUTE:1,CHILD:2,PROPERTY:3,BOOLEAN_ATTRIBUTE:4,EVENT:5,ELEMENT:6},De=i=>(...e)=>({_$litDirective$:i,values:e}),te=class{constructor(e){}get _$AU(){return this._$AM._$AU}_$AT(e,t,n){this._$Ct=e,this._$AM=t,this._$Ci=n}_$AS(e,t){return this.update(e,t)}update(e,t){return this.render(...t)}};var $t=class extends te{render(e,t){return R}update(e,[t,n]){return e.element.style.setProperty(t,String(n)),R}},$=De($t);function M(i){return k`<svg viewBox="0 0 16 16" aria-hidden="true">${Mi[i]}</svg>`}var Mi={calendar:k`<rect x="2" y="3" width="12" height="11" rx="2"/><path d="M2 6.5h12M5 1.5v3M11 1.5v3"/>`,chevron:k`<path d="m4.5 6.5 3.5 3.5 3.5-3.5"/>`,close:k`<path d="m4 4 8 8m0-8-8 8"/>`,compare:k`<path d="M2 11.5 6 7l3 3 5-6M2 14h12"/>`,pause:k`<path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2.2"/>`,play:k`<path d="M5 3.5v9l7-4.5z" fill="currentColor"/>`,more:k`<path d="M3.5 8h.01M8 8h.01M12.5 8h.01" stroke-width="2.4"/>`};function yn(i){let e=t=>{let n=typeof t=="string"&&/^[=+\-@\t\r]/.test(t)?`'${t}`:String(t);return/[",\r\n]/.test(n)?`"${n.replaceAll('"','""')}"`:n};return[i.head,...i.rows].map(t=>t.map(e).join(",")).join(`\r
`)+`\r
`}function Ie(i,e,t){let n=document.createElement("a");n.href=URL.createObjectURL(new Blob([e],{type:t})),n.download=i,n.click(),setTimeout(()=>URL.revokeObjectURL(n.href),1e4)}var Oe=b`
  :host {
    --_text: var(--nealytics-text, currentColor);
    --_muted: var(--nealytics-muted, color-mix(in oklab, var(--_text) 66%, transparent));
    --_border: var(--nealytics-border, color-mix(in oklab, var(--_text) 13%, transparent));
    --_fill: color-mix(in oklab, var(--_text) 6%, transparent);
    --_surface: var(--nealytics-surface, transparent);
    --_sheet: var(--nealytics-sheet, light-dark(#ffffff, #1b1e24));
    --_accent: var(--nealytics-accent, light-dark(#3163e6, #7da0ff));
    --_accent-contrast: var(--nealytics-accent-contrast, light-dark(#ffffff, #0f1115));
    --_positive: var(--nealytics-positive, light-dark(#0f7b46, #4cc38a));
    --_negative: var(--nealytics-negative, light-dark(#b3261e, #ff8f85));
    --_radius: var(--nealytics-radius, 12px);
    --_gap: var(--nealytics-gap, 16px);
    --_s1: var(--nealytics-series-1, var(--_accent));
    --_s2: var(--nealytics-series-2, light-dark(#c4570c, #f0a35e));
    --_s3: var(--nealytics-series-3, light-dark(#0c7f78, #4fc4bc));
    --_s4: var(--nealytics-series-4, light-dark(#a63d8f, #e08fd0));
    --_s5: var(--nealytics-series-5, light-dark(#7a6a00, #cfbb47));
    --_s6: var(--nealytics-series-6, light-dark(#3d7d1f, #8fce6a));
    --_s7: var(--nealytics-series-7, light-dark(#7a52cc, #b79bf5));
    --_s8: var(--nealytics-series-8, light-dark(#64707d, #a3aebb));
    display: block;
    box-sizing: border-box;
    color: var(--_text);
    font-family: var(--nealytics-font, inherit);
    font-size: var(--nealytics-font-size, 14px);
    line-height: 1.45;
    container-type: inline-size;
    min-width: 0;
  }
  :host([hidden]) {
    display: none;
  }
  :host([theme="light"]) {
    color-scheme: light;
  }
  :host([theme="dark"]) {
    color-scheme: dark;
  }
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  button,
  input,
  select {
    font: inherit;
    color: inherit;
    letter-spacing: inherit;
  }
  :focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: 2px;
    border-radius: 6px;
  }
  .number {
    font-variant-numeric: tabular-nums;
  }
  bdi {
    font: inherit;
  }
  .muted {
    color: var(--_muted);
  }
  .up {
    color: var(--_positive);
  }
  .down {
    color: var(--_negative);
  }
  .sr {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
`,Le=b`
  .button {
    display: inline-flex;
    align-items: center;
    gap: 6px;
    min-height: 34px;
    padding: 0 12px;
    border: 1px solid var(--_border);
    border-radius: 8px;
    background: var(--_surface);
    cursor: pointer;
    white-space: nowrap;
  }
  .button:hover {
    background: var(--_fill);
  }
  .button:disabled {
    opacity: 0.45;
    background: none;
    cursor: default;
  }
  .button.icon {
    padding: 0;
    width: 34px;
    justify-content: center;
  }
  .button.quiet {
    border-color: transparent;
    background: none;
    color: var(--_muted);
    min-height: 28px;
    width: 28px;
  }
  .button.quiet:hover,
  .button.quiet[aria-expanded="true"] {
    background: var(--_fill);
    color: var(--_text);
  }
  .button.primary {
    justify-content: center;
    border-color: transparent;
    background: var(--_accent);
    color: var(--_accent-contrast);
  }
  .button svg {
    width: 16px;
    height: 16px;
    fill: none;
    stroke: currentColor;
    stroke-width: 1.6;
    stroke-linecap: round;
    stroke-linejoin: round;
    flex: none;
  }
  .menu {
    position: relative;
  }
  .sheet {
    position: absolute;
    z-index: 20;
    inset-block-start: calc(100% + 6px);
    inset-inline-start: 0;
    min-width: 210px;
    padding: 6px;
    border: 1px solid var(--_border);
    border-radius: 12px;
    background: var(--_sheet);
    box-shadow: 0 8px 28px rgb(0 0 0 / 14%);
  }
  .sheet.end {
    inset-inline: auto 0;
  }
  .item {
    display: flex;
    align-items: center;
    gap: 8px;
    width: 100%;
    min-height: 34px;
    padding: 0 10px;
    border: 0;
    border-radius: 8px;
    background: none;
    text-align: start;
    cursor: pointer;
    white-space: nowrap;
  }
  .item:hover,
  .item:focus-visible {
    background: var(--_fill);
  }
  .item[aria-checked="true"],
  .item[aria-current="true"] {
    color: var(--_accent);
    font-weight: 600;
  }
`,_n=b`
  section {
    height: 100%;
    padding: 16px 18px 18px;
    border: 1px solid var(--_border);
    border-radius: var(--_radius);
    background: var(--_surface);
    display: flex;
    flex-direction: column;
    gap: 12px;
    min-width: 0;
  }
  header {
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 8px;
    min-height: 28px;
  }
  h3 {
    margin: 0;
    font-size: inherit;
    font-weight: 600;
    min-width: 0;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .body {
    position: relative;
    flex: 1;
    min-width: 0;
    transition: opacity 0.2s 0.4s;
  }
  .body[data-state="stale"] {
    opacity: 0.45;
  }
  .skeleton {
    border-radius: 8px;
    background: var(--_fill);
    animation: breathe 1.6s ease-in-out infinite;
  }
  .note {
    display: flex;
    flex-direction: column;
    align-items: center;
    justify-content: center;
    gap: 6px;
    min-height: 120px;
    height: 100%;
    padding: 16px;
    text-align: center;
    text-wrap: balance;
  }
  .note p {
    margin: 0;
  }
  .note .button {
    margin-top: 6px;
  }
  @keyframes breathe {
    50% {
      opacity: 0.5;
    }
  }
  @media (prefers-reduced-motion: reduce) {
    .skeleton {
      animation: none;
    }
    .body {
      transition: none;
    }
  }
  @media print {
    header .menu {
      display: none;
    }
    section {
      break-inside: avoid;
    }
  }
`,Ue=b`
  .bars {
    display: grid;
    gap: 2px;
    margin: 0;
    padding: 0;
    list-style: none;
  }
  .row {
    position: relative;
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 16px;
    width: 100%;
    min-height: 32px;
    padding: 0 10px;
    border: 0;
    border-radius: 7px;
    background: none;
    text-align: start;
    cursor: pointer;
    overflow: clip;
  }
  .row::before {
    content: "";
    position: absolute;
    inset-block: 1px;
    inset-inline-start: 0;
    width: var(--share);
    border-radius: 7px;
    background: color-mix(in oklab, var(--_accent) 13%, transparent);
    transition: background 0.15s;
  }
  .row:hover::before,
  .row:focus-visible::before {
    background: color-mix(in oklab, var(--_accent) 24%, transparent);
  }
  .key {
    position: relative;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
    min-width: 0;
  }
  .count {
    position: relative;
    display: flex;
    gap: 10px;
    font-variant-numeric: tabular-nums;
  }
  .share {
    color: var(--_muted);
    opacity: 0;
    transition: opacity 0.15s;
  }
  .row:hover .share,
  .row:focus-visible .share {
    opacity: 1;
  }
`;var Ri=new URL(".",import.meta.url).href,Pi=["tz","compare","filter","range"],Ci=2e3,ge=class i extends O{static{this.properties={src:{},range:{},tz:{},compare:{},filter:{},lang:{},theme:{reflect:!0},dev:{type:Boolean},messages:{attribute:!1},getToken:{attribute:!1}}}#e;#t;#i=e=>{this.requestUpdate(),e instanceof CustomEvent&&e.type!=="change"&&this.#c(e.type,e.detail)};get owner(){for(let e=this;e;)if(e=(e instanceof Element?e.parentElement:null)??e.getRootNode().host??null,e instanceof i&&e.ownsPage)return e}get ownsPage(){return!1}get page(){let e=this.ownsPage?void 0:this.owner;if(e)return e.page;if(!this.#e){this.#e=new Ce(this.#r,()=>this.#s());for(let t of["change","nealytics-range-change","nealytics-filter-change","nealytics-error","nealytics-ready"])this.#e.addEventListener(t,this.#i);this.#l()}return this.#e}get format(){let e=this.language,t={...mn[e.split("-")[0]??"en"],...this.owner?.messages,...this.messages};return(this.#t?.lang!==e||this.#t.tz!==this.page.tz||this.messages!==this.#n)&&(this.#n=this.messages,this.#t=new Ne(e,this.page.tz,t)),this.#t}#n;get language(){return this.lang||this.owner?.language||document.documentElement.lang||navigator.language||"en"}willUpdate(e){if(!this.#e)return;this.#l(),e.has("getToken")&&e.get("getToken")!==void 0||this.#r!==this.#e.client.base?this.#e.renew(this.#r):e.has("getToken")&&this.getToken&&this.#e.refresh()}async#s(){for(let e=0;!this.getToken&&e<Ci;e+=50)await new Promise(t=>setTimeout(t,50));if(!this.getToken)throw new x("no_token",`<${this.localName}> has no getToken`);return this.getToken()}get#r(){return this.src?new URL(this.src.replace(/\/*$/,"/"),document.baseURI).href:Ri}#o={};#l(){let e=this.#e;if(e)for(let t of Pi){let n=this[t];n!==this.#o[t]&&(this.#o[t]=n,n!=null&&this.#a(e,t))}}#a(e,t){if(t==="tz"&&this.tz&&this.tz!==e.tz)try{e.tz=this.tz}catch{console.error(`nealytics: tz is "${this.tz}", which is no time zone; ${e.tz} is used`)}if(t==="compare"&&this.compare&&this.compare!==e.comparison&&(Y.includes(this.compare)?e.comparison=this.compare:console.error(`nealytics: compare is "${this.compare}"; write one of ${Y.join(", ")}`)),t==="filter"){let n=(this.filter??"").split(`
`).map(s=>s.trim()).filter(Boolean);String(n)!==String(e.filters)&&(e.filters=n)}if(t==="range"&&this.range&&this.range!==Me(e.range)){let[n="",s=n]=this.range.split("..");G.includes(this.range)?e.range=P(this.range,e.today):I(n)&&I(s)&&n<=s?e.range={from:n,to:s}:console.error(`nealytics: range is "${this.range}"; write one of ${G.join(", ")}, or 2026-06-01..2026-06-30`)}}#c(e,t){this.dispatchEvent(new CustomEvent(e,{detail:t,bubbles:!0,composed:!0}))}},v=class extends ge{constructor(){super();this.answers={};this.#t=t=>{t?.type==="renewed"&&(this.state="loading",this.answers={}),this.requestUpdate()};this.#r=t=>{t.currentTarget.contains(t.relatedTarget)||(this.menuOpen=!1)};this.#o=t=>{t.key!=="Escape"||!this.menuOpen||(this.menuOpen=!1,t.currentTarget.querySelector("button")?.focus())};this.#l=()=>{this.menuOpen=!1;let{from:t,to:n}=this.page.range,s=(this.heading??this.defaultHeading()).toLowerCase().replace(/[^\p{L}\p{N}]+/gu,"-");Ie(`${s}-${t}-${n}.csv`,`\uFEFF${yn(this.table())}`,"text/csv;charset=utf-8")};this.state="loading",this.menuOpen=!1}static{this.styles=[Oe,Le,_n]}static{this.properties={heading:{},state:{state:!0},menuOpen:{state:!0}}}#e;skeleton(){return u`<div class="skeleton block"></div>`}answer(t){return this.answers[t]}connectedCallback(){super.connectedCallback(),this.#e=this.page,this.#e.add(this);for(let t of["change","renewed"])this.#e.addEventListener(t,this.#t)}disconnectedCallback(){super.disconnectedCallback(),this.#e?.remove(this);for(let t of["change","renewed"])this.#e?.removeEventListener(t,this.#t)}#t;willUpdate(t){super.willUpdate(t),[...t.keys()].some(s=>this.asksBy().includes(s)&&t.get(s)!==void 0)&&this.hasUpdated&&this.page.askAgain(this)}asksBy(){return[]}waiting(){this.state=this.state==="loading"?"loading":"stale"}receive(t){this.answers=t,this.state="ready",this.#i();for(let n of Object.values(t))n instanceof x&&this.#n(n);this.requestUpdate()}#i(){let t=this.renderRoot.querySelector(".body");t&&(t.style.minHeight=this.problem?`${t.offsetHeight}px`:"")}#n(t){console.warn(`nealytics: <${this.localName}>: ${t.code}: ${t.message}`)}get problem(){return Object.values(this.answers).find(t=>t instanceof x)}render(){let{problem:t}=this,n=this.state!=="loading"&&!t,s=n&&this.isEmpty();return u`<section part="card" aria-labelledby="title" aria-busy=${this.state==="ready"?"false":"true"}>
      <header part="header">
        <h3 part="title" id="title">${this.heading??this.defaultHeading()}</h3>
        ${this.actions()}${n&&!s?this.#s():f}
      </header>
      <div part="body" class="body" data-state=${this.state}>
        ${this.state==="loading"?this.skeleton():t?this.#c(t):s?this.#a():this.content()}
      </div>
    </section>`}actions(){return f}#s(){let t=this.format;return u`<div class="menu" @focusout=${this.#r} @keydown=${this.#o}>
      <button class="button icon quiet" aria-haspopup="menu" aria-expanded=${this.menuOpen}
        aria-label="${t.text("more")}: ${this.heading??this.defaultHeading()}" @click=${()=>this.menuOpen=!this.menuOpen}>
        ${M("more")}
      </button>
      ${this.menuOpen?u`<div class="sheet end" role="menu">
            <button class="item" role="menuitem" @click=${this.#l}>${t.text("download_csv")}</button>
          </div>`:f}
    </div>`}#r;#o;#l;#a(){let t=this.format;return u`<div class="note" part="empty"><p>${t.text("empty")}</p><p class="muted">${t.text("empty_hint")}</p></div>`}#c(t){let n=this.format,[s,r]=t.needsToken?[n.text("expired"),n.text("expired_hint")]:t.code==="offline"?[n.text("offline"),""]:t.status===429||t.status===503?[n.text("busy"),""]:t.code==="query_too_large"||t.code==="result_too_large"?[n.text("too_large"),n.text("too_large_hint")]:[n.text("error"),""];return u`<div class="note" part="error" role="status">
      <p>${s}</p>
      ${r?u`<p class="muted">${r}</p>`:f}
      ${this.dev??this.owner?.dev?u`<p class="muted"><code>${t.code}</code> ${t.message}</p>`:f}
      <button class="button" @click=${()=>this.page.retry(this)}>${n.text("retry")}</button>
    </div>`}hiddenTable(){let{head:t,rows:n}=this.table();return u`<div class="sr"><table>
      <caption>${this.heading??this.defaultHeading()}</caption>
      <thead><tr>${t.map(s=>u`<th scope="col">${s}</th>`)}</tr></thead>
      <tbody>${n.map(s=>u`<tr>${s.map((r,o)=>o?u`<td>${r}</td>`:u`<th scope="row">${r}</th>`)}</tr>`)}</tbody>
    </table></div>`}};var ye=Math.PI,kt=2*ye,K=1e-6,Ni=kt-K;function vn(i){this._+=i[0];for(let e=1,t=i.length;e<t;++e)this._+=arguments[e]+i[e]}function Di(i){let e=Math.floor(i);if(!(e>=0))throw new Error(`invalid digits: ${i}`);if(e>15)return vn;let t=10**e;return function(n){this._+=n[0];for(let s=1,r=n.length;s<r;++s)this._+=Math.round(arguments[s]*t)/t+n[s]}}function bn(i,e,t,n){return i===t&&e===n}function Ii(i){let e=Math.floor(i);if(!(e<=15))return bn;let t=10**e,n=function(s){return Math.round(s*t)};return function(s,r,o,a){return n(s)===n(o)&&n(r)===n(a)}}var ne=class{constructor(e){this._x0=this._y0=this._x1=this._y1=null,this._="",this._append=e==null?vn:Di(e),this._equal=e==null?bn:Ii(e)}moveTo(e,t){this._append`M${this._x0=this._x1=+e},${this._y0=this._y1=+t}`}closePath(){this._x1!==null&&(this._x1=this._x0,this._y1=this._y0,this._append`Z`)}lineTo(e,t){this._append`L${this._x1=+e},${this._y1=+t}`}quadraticCurveTo(e,t,n,s){this._append`Q${+e},${+t},${this._x1=+n},${this._y1=+s}`}bezierCurveTo(e,t,n,s,r,o){this._append`C${+e},${+t},${+n},${+s},${this._x1=+r},${this._y1=+o}`}arcTo(e,t,n,s,r){if(e=+e,t=+t,n=+n,s=+s,r=+r,r<0)throw new Error(`negative radius: ${r}`);let o=this._x1,a=this._y1,l=n-e,c=s-t,p=o-e,d=a-t,h=p*p+d*d;if(this._x1===null)this._append`M${this._x1=e},${this._y1=t}`;else if(h>K)if(!(Math.abs(d*l-c*p)>K)||!r)this._append`L${this._x1=e},${this._y1=t}`;else{let m=n-o,g=s-a,_=l*l+c*c,y=m*m+g*g,w=Math.sqrt(_),T=Math.sqrt(h),E=r*Math.tan((ye-Math.acos((_+h-y)/(2*w*T)))/2),B=E/T,qt=E/w;Math.abs(B-1)>K&&this._append`L${e+B*p},${t+B*d}`,this._append`A${r},${r},0,0,${+(d*m>p*g)},${this._x1=e+qt*l},${this._y1=t+qt*c}`}}arc(e,t,n,s,r,o){if(e=+e,t=+t,n=+n,o=!!o,n<0)throw new Error(`negative radius: ${n}`);let a=n*Math.cos(s),l=n*Math.sin(s),c=e+a,p=t+l,d=1^o,h=o?s-r:r-s;if(this._x1===null?this._append`M${c},${p}`:(Math.abs(this._x1-c)>K||Math.abs(this._y1-p)>K)&&this._append`L${c},${p}`,!!n){if(h<0&&(h=h%kt+kt),h>Ni)this._append`A${n},${n},0,1,${d},${e-a},${t-l}A${n},${n},0,1,${d},${this._x1=c},${this._y1=p}`;else if(h>K){let m=e+n*Math.cos(r),g=t+n*Math.sin(r);if(h>=ye&&this._equal(c,p,m,g)){h/=2;let _=s+h;this._append`A${n},${n},0,${+(h>=ye)},${d},${e+n*Math.cos(_)},${t+n*Math.sin(_)}`}this._append`A${n},${n},0,${+(h>=ye)},${d},${this._x1=m},${this._y1=g}`}}}rect(e,t,n,s){this._append`M${this._x0=this._x1=+e},${this._y0=this._y1=+t}h${n=+n}v${+s}h${-n}Z`}toString(){return this._}};function Oi(){return new ne}Oi.prototype=ne.prototype;function S(i){return function(){return i}}var Li=Math.cos;var St=Math.sin,ie=Math.sqrt,xn=1e-12,ze=Math.PI,wr=ze/2,An=2*ze;function Mn(i){let e=3;return i.digits=function(t){if(!arguments.length)return e;if(t==null)e=null;else{let n=Math.floor(t);if(!(n>=0))throw new RangeError(`invalid digits: ${t}`);e=n}return i},()=>new ne(e)}var $r=Array.prototype.slice;function At(i){return typeof i=="object"&&"length"in i?i:Array.from(i)}function Rn(i){this._context=i}Rn.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._point=0},lineEnd:function(){(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(i,e){switch(i=+i,e=+e,this._point){case 0:this._point=1,this._line?this._context.lineTo(i,e):this._context.moveTo(i,e);break;case 1:this._point=2;default:this._context.lineTo(i,e);break}}};function Mt(i){return new Rn(i)}function Pn(i){return i[0]}function Cn(i){return i[1]}function X(i,e){var t=S(!0),n=null,s=Mt,r=null,o=Mn(a);i=typeof i=="function"?i:i===void 0?Pn:S(i),e=typeof e=="function"?e:e===void 0?Cn:S(e);function a(l){var c,p=(l=At(l)).length,d,h=!1,m;for(n==null&&(r=s(m=o())),c=0;c<=p;++c)!(c<p&&t(d=l[c],c,l))===h&&((h=!h)?r.lineStart():r.lineEnd()),h&&r.point(+i(d,c,l),+e(d,c,l));if(m)return r=null,m+""||null}return a.x=function(l){return arguments.length?(i=typeof l=="function"?l:S(+l),a):i},a.y=function(l){return arguments.length?(e=typeof l=="function"?l:S(+l),a):e},a.defined=function(l){return arguments.length?(t=typeof l=="function"?l:S(!!l),a):t},a.curve=function(l){return arguments.length?(s=l,n!=null&&(r=s(n)),a):s},a.context=function(l){return arguments.length?(l==null?n=r=null:r=s(n=l),a):n},a}function Rt(i,e,t){var n=null,s=S(!0),r=null,o=Mt,a=null,l=Mn(c);i=typeof i=="function"?i:i===void 0?Pn:S(+i),e=typeof e=="function"?e:S(e===void 0?0:+e),t=typeof t=="function"?t:t===void 0?Cn:S(+t);function c(d){var h,m,g,_=(d=At(d)).length,y,w=!1,T,E=new Array(_),B=new Array(_);for(r==null&&(a=o(T=l())),h=0;h<=_;++h){if(!(h<_&&s(y=d[h],h,d))===w)if(w=!w)m=h,a.areaStart(),a.lineStart();else{for(a.lineEnd(),a.lineStart(),g=h-1;g>=m;--g)a.point(E[g],B[g]);a.lineEnd(),a.areaEnd()}w&&(E[h]=+i(y,h,d),B[h]=+e(y,h,d),a.point(n?+n(y,h,d):E[h],t?+t(y,h,d):B[h]))}if(T)return a=null,T+""||null}function p(){return X().defined(s).curve(o).context(r)}return c.x=function(d){return arguments.length?(i=typeof d=="function"?d:S(+d),n=null,c):i},c.x0=function(d){return arguments.length?(i=typeof d=="function"?d:S(+d),c):i},c.x1=function(d){return arguments.length?(n=d==null?null:typeof d=="function"?d:S(+d),c):n},c.y=function(d){return arguments.length?(e=typeof d=="function"?d:S(+d),t=null,c):e},c.y0=function(d){return arguments.length?(e=typeof d=="function"?d:S(+d),c):e},c.y1=function(d){return arguments.length?(t=d==null?null:typeof d=="function"?d:S(+d),c):t},c.lineX0=c.lineY0=function(){return p().x(i).y(e)},c.lineY1=function(){return p().x(i).y(t)},c.lineX1=function(){return p().x(n).y(e)},c.defined=function(d){return arguments.length?(s=typeof d=="function"?d:S(!!d),c):s},c.curve=function(d){return arguments.length?(o=d,r!=null&&(a=o(r)),c):o},c.context=function(d){return arguments.length?(d==null?r=a=null:a=o(r=d),c):r},c}var kr=Ui(Mt);function Nn(i){this._curve=i}Nn.prototype={areaStart:function(){this._curve.areaStart()},areaEnd:function(){this._curve.areaEnd()},lineStart:function(){this._curve.lineStart()},lineEnd:function(){this._curve.lineEnd()},point:function(i,e){this._curve.point(e*Math.sin(i),e*-Math.cos(i))}};function Ui(i){function e(t){return new Nn(i(t))}return e._curve=i,e}var Tr=ie(3);var zi=ie(1/3),Sr=zi*2;var Dn=St(ze/10)/St(7*ze/10),Er=St(An/10)*Dn,Ar=-Li(An/10)*Dn;var Mr=ie(3);var Rr=ie(3);var Pr=ie(3)/2,qi=1/ie(12),Cr=(qi/2+1)*3;function U(){}function qe(i,e,t){i._context.bezierCurveTo((2*i._x0+i._x1)/3,(2*i._y0+i._y1)/3,(i._x0+2*i._x1)/3,(i._y0+2*i._y1)/3,(i._x0+4*i._x1+e)/6,(i._y0+4*i._y1+t)/6)}function Pt(i){this._context=i}Pt.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._y0=this._y1=NaN,this._point=0},lineEnd:function(){switch(this._point){case 3:qe(this,this._x1,this._y1);case 2:this._context.lineTo(this._x1,this._y1);break}(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(i,e){switch(i=+i,e=+e,this._point){case 0:this._point=1,this._line?this._context.lineTo(i,e):this._context.moveTo(i,e);break;case 1:this._point=2;break;case 2:this._point=3,this._context.lineTo((5*this._x0+this._x1)/6,(5*this._y0+this._y1)/6);default:qe(this,i,e);break}this._x0=this._x1,this._x1=i,this._y0=this._y1,this._y1=e}};function Hi(i){this._context=i}Hi.prototype={areaStart:U,areaEnd:U,lineStart:function(){this._x0=this._x1=this._x2=this._x3=this._x4=this._y0=this._y1=this._y2=this._y3=this._y4=NaN,this._point=0},lineEnd:function(){switch(this._point){case 1:{this._context.moveTo(this._x2,this._y2),this._context.closePath();break}case 2:{this._context.moveTo((this._x2+2*this._x3)/3,(this._y2+2*this._y3)/3),this._context.lineTo((this._x3+2*this._x2)/3,(this._y3+2*this._y2)/3),this._context.closePath();break}case 3:{this.point(this._x2,this._y2),this.point(this._x3,this._y3),this.point(this._x4,this._y4);break}}},point:function(i,e){switch(i=+i,e=+e,this._point){case 0:this._point=1,this._x2=i,this._y2=e;break;case 1:this._point=2,this._x3=i,this._y3=e;break;case 2:this._point=3,this._x4=i,this._y4=e,this._context.moveTo((this._x0+4*this._x1+i)/6,(this._y0+4*this._y1+e)/6);break;default:qe(this,i,e);break}this._x0=this._x1,this._x1=i,this._y0=this._y1,this._y1=e}};function Bi(i){this._context=i}Bi.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._y0=this._y1=NaN,this._point=0},lineEnd:function(){(this._line||this._line!==0&&this._point===3)&&this._context.closePath(),this._line=1-this._line},point:function(i,e){switch(i=+i,e=+e,this._point){case 0:this._point=1;break;case 1:this._point=2;break;case 2:this._point=3;var t=(this._x0+4*this._x1+i)/6,n=(this._y0+4*this._y1+e)/6;this._line?this._context.lineTo(t,n):this._context.moveTo(t,n);break;case 3:this._point=4;default:qe(this,i,e);break}this._x0=this._x1,this._x1=i,this._y0=this._y1,this._y1=e}};function In(i,e){this._basis=new Pt(i),this._beta=e}In.prototype={lineStart:function(){this._x=[],this._y=[],this._basis.lineStart()},lineEnd:function(){var i=this._x,e=this._y,t=i.length-1;if(t>0)for(var n=i[0],s=e[0],r=i[t]-n,o=e[t]-s,a=-1,l;++a<=t;)l=a/t,this._basis.point(this._beta*i[a]+(1-this._beta)*(n+l*r),this._beta*e[a]+(1-this._beta)*(s+l*o));this._x=this._y=null,this._basis.lineEnd()},point:function(i,e){this._x.push(+i),this._y.push(+e)}};var Nr=(function i(e){function t(n){return e===1?new Pt(n):new In(n,e)}return t.beta=function(n){return i(+n)},t})(.85);function He(i,e,t){i._context.bezierCurveTo(i._x1+i._k*(i._x2-i._x0),i._y1+i._k*(i._y2-i._y0),i._x2+i._k*(i._x1-e),i._y2+i._k*(i._y1-t),i._x2,i._y2)}function Ct(i,e){this._context=i,this._k=(1-e)/6}Ct.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._x2=this._y0=this._y1=this._y2=NaN,this._point=0},lineEnd:function(){switch(this._point){case 2:this._context.lineTo(this._x2,this._y2);break;case 3:He(this,this._x1,this._y1);break}(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(i,e){switch(i=+i,e=+e,this._point){case 0:this._point=1,this._line?this._context.lineTo(i,e):this._context.moveTo(i,e);break;case 1:this._point=2,this._x1=i,this._y1=e;break;case 2:this._point=3;default:He(this,i,e);break}this._x0=this._x1,this._x1=this._x2,this._x2=i,this._y0=this._y1,this._y1=this._y2,this._y2=e}};var Dr=(function i(e){function t(n){return new Ct(n,e)}return t.tension=function(n){return i(+n)},t})(0);function Nt(i,e){this._context=i,this._k=(1-e)/6}Nt.prototype={areaStart:U,areaEnd:U,lineStart:function(){this._x0=this._x1=this._x2=this._x3=this._x4=this._x5=this._y0=this._y1=this._y2=this._y3=this._y4=this._y5=NaN,this._point=0},lineEnd:function(){switch(this._point){case 1:{this._context.moveTo(this._x3,this._y3),this._context.closePath();break}case 2:{this._context.lineTo(this._x3,this._y3),this._context.closePath();break}case 3:{this.point(this._x3,this._y3),this.point(this._x4,this._y4),this.point(this._x5,this._y5);break}}},point:function(i,e){switch(i=+i,e=+e,this._point){case 0:this._point=1,this._x3=i,this._y3=e;break;case 1:this._point=2,this._context.moveTo(this._x4=i,this._y4=e);break;case 2:this._point=3,this._x5=i,this._y5=e;break;default:He(this,i,e);break}this._x0=this._x1,this._x1=this._x2,this._x2=i,this._y0=this._y1,this._y1=this._y2,this._y2=e}};var Ir=(function i(e){function t(n){return new Nt(n,e)}return t.tension=function(n){return i(+n)},t})(0);function Dt(i,e){this._context=i,this._k=(1-e)/6}Dt.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._x2=this._y0=this._y1=this._y2=NaN,this._point=0},lineEnd:function(){(this._line||this._line!==0&&this._point===3)&&this._context.closePath(),this._line=1-this._line},point:function(i,e){switch(i=+i,e=+e,this._point){case 0:this._point=1;break;case 1:this._point=2;break;case 2:this._point=3,this._line?this._context.lineTo(this._x2,this._y2):this._context.moveTo(this._x2,this._y2);break;case 3:this._point=4;default:He(this,i,e);break}this._x0=this._x1,this._x1=this._x2,this._x2=i,this._y0=this._y1,this._y1=this._y2,this._y2=e}};var Or=(function i(e){function t(n){return new Dt(n,e)}return t.tension=function(n){return i(+n)},t})(0);function It(i,e,t){var n=i._x1,s=i._y1,r=i._x2,o=i._y2;if(i._l01_a>xn){var a=2*i._l01_2a+3*i._l01_a*i._l12_a+i._l12_2a,l=3*i._l01_a*(i._l01_a+i._l12_a);n=(n*a-i._x0*i._l12_2a+i._x2*i._l01_2a)/l,s=(s*a-i._y0*i._l12_2a+i._y2*i._l01_2a)/l}if(i._l23_a>xn){var c=2*i._l23_2a+3*i._l23_a*i._l12_a+i._l12_2a,p=3*i._l23_a*(i._l23_a+i._l12_a);r=(r*c+i._x1*i._l23_2a-e*i._l12_2a)/p,o=(o*c+i._y1*i._l23_2a-t*i._l12_2a)/p}i._context.bezierCurveTo(n,s,r,o,i._x2,i._y2)}function On(i,e){this._context=i,this._alpha=e}On.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._x2=this._y0=this._y1=this._y2=NaN,this._l01_a=this._l12_a=this._l23_a=this._l01_2a=this._l12_2a=this._l23_2a=this._point=0},lineEnd:function(){switch(this._point){case 2:this._context.lineTo(this._x2,this._y2);break;case 3:this.point(this._x2,this._y2);break}(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(i,e){if(i=+i,e=+e,this._point){var t=this._x2-i,n=this._y2-e;this._l23_a=Math.sqrt(this._l23_2a=Math.pow(t*t+n*n,this._alpha))}switch(this._point){case 0:this._point=1,this._line?this._context.lineTo(i,e):this._context.moveTo(i,e);break;case 1:this._point=2;break;case 2:this._point=3;default:It(this,i,e);break}this._l01_a=this._l12_a,this._l12_a=this._l23_a,this._l01_2a=this._l12_2a,this._l12_2a=this._l23_2a,this._x0=this._x1,this._x1=this._x2,this._x2=i,this._y0=this._y1,this._y1=this._y2,this._y2=e}};var Lr=(function i(e){function t(n){return e?new On(n,e):new Ct(n,0)}return t.alpha=function(n){return i(+n)},t})(.5);function Ln(i,e){this._context=i,this._alpha=e}Ln.prototype={areaStart:U,areaEnd:U,lineStart:function(){this._x0=this._x1=this._x2=this._x3=this._x4=this._x5=this._y0=this._y1=this._y2=this._y3=this._y4=this._y5=NaN,this._l01_a=this._l12_a=this._l23_a=this._l01_2a=this._l12_2a=this._l23_2a=this._point=0},lineEnd:function(){switch(this._point){case 1:{this._context.moveTo(this._x3,this._y3),this._context.closePath();break}case 2:{this._context.lineTo(this._x3,this._y3),this._context.closePath();break}case 3:{this.point(this._x3,this._y3),this.point(this._x4,this._y4),this.point(this._x5,this._y5);break}}},point:function(i,e){if(i=+i,e=+e,this._point){var t=this._x2-i,n=this._y2-e;this._l23_a=Math.sqrt(this._l23_2a=Math.pow(t*t+n*n,this._alpha))}switch(this._point){case 0:this._point=1,this._x3=i,this._y3=e;break;case 1:this._point=2,this._context.moveTo(this._x4=i,this._y4=e);break;case 2:this._point=3,this._x5=i,this._y5=e;break;default:It(this,i,e);break}this._l01_a=this._l12_a,this._l12_a=this._l23_a,this._l01_2a=this._l12_2a,this._l12_2a=this._l23_2a,this._x0=this._x1,this._x1=this._x2,this._x2=i,this._y0=this._y1,this._y1=this._y2,this._y2=e}};var Ur=(function i(e){function t(n){return e?new Ln(n,e):new Nt(n,0)}return t.alpha=function(n){return i(+n)},t})(.5);function Un(i,e){this._context=i,this._alpha=e}Un.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._x2=this._y0=this._y1=this._y2=NaN,this._l01_a=this._l12_a=this._l23_a=this._l01_2a=this._l12_2a=this._l23_2a=this._point=0},lineEnd:function(){(this._line||this._line!==0&&this._point===3)&&this._context.closePath(),this._line=1-this._line},point:function(i,e){if(i=+i,e=+e,this._point){var t=this._x2-i,n=this._y2-e;this._l23_a=Math.sqrt(this._l23_2a=Math.pow(t*t+n*n,this._alpha))}switch(this._point){case 0:this._point=1;break;case 1:this._point=2;break;case 2:this._point=3,this._line?this._context.lineTo(this._x2,this._y2):this._context.moveTo(this._x2,this._y2);break;case 3:this._point=4;default:It(this,i,e);break}this._l01_a=this._l12_a,this._l12_a=this._l23_a,this._l01_2a=this._l12_2a,this._l12_2a=this._l23_2a,this._x0=this._x1,this._x1=this._x2,this._x2=i,this._y0=this._y1,this._y1=this._y2,this._y2=e}};var zr=(function i(e){function t(n){return e?new Un(n,e):new Dt(n,0)}return t.alpha=function(n){return i(+n)},t})(.5);function Fi(i){this._context=i}Fi.prototype={areaStart:U,areaEnd:U,lineStart:function(){this._point=0},lineEnd:function(){this._point&&this._context.closePath()},point:function(i,e){i=+i,e=+e,this._point?this._context.lineTo(i,e):(this._point=1,this._context.moveTo(i,e))}};function wn(i){return i<0?-1:1}function $n(i,e,t){var n=i._x1-i._x0,s=e-i._x1,r=(i._y1-i._y0)/(n||s<0&&-0),o=(t-i._y1)/(s||n<0&&-0),a=(r*s+o*n)/(n+s);return(wn(r)+wn(o))*Math.min(Math.abs(r),Math.abs(o),.5*Math.abs(a))||0}function kn(i,e){var t=i._x1-i._x0;return t?(3*(i._y1-i._y0)/t-e)/2:e}function Tt(i,e,t){var n=i._x0,s=i._y0,r=i._x1,o=i._y1,a=(r-n)/3;i._context.bezierCurveTo(n+a,s+a*e,r-a,o-a*t,r,o)}function Et(i){this._context=i}Et.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._y0=this._y1=this._t0=NaN,this._point=0},lineEnd:function(){switch(this._point){case 2:this._context.lineTo(this._x1,this._y1);break;case 3:Tt(this,this._t0,kn(this,this._t0));break}(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(i,e){var t=NaN;if(i=+i,e=+e,!(i===this._x1&&e===this._y1)){switch(this._point){case 0:this._point=1,this._line?this._context.lineTo(i,e):this._context.moveTo(i,e);break;case 1:this._point=2;break;case 2:this._point=3,Tt(this,kn(this,t=$n(this,i,e)),t);break;default:Tt(this,this._t0,t=$n(this,i,e));break}this._x0=this._x1,this._x1=i,this._y0=this._y1,this._y1=e,this._t0=t}}};function ji(i){this._context=new zn(i)}(ji.prototype=Object.create(Et.prototype)).point=function(i,e){Et.prototype.point.call(this,e,i)};function zn(i){this._context=i}zn.prototype={moveTo:function(i,e){this._context.moveTo(e,i)},closePath:function(){this._context.closePath()},lineTo:function(i,e){this._context.lineTo(e,i)},bezierCurveTo:function(i,e,t,n,s,r){this._context.bezierCurveTo(e,i,n,t,r,s)}};function Vi(i){this._context=i}Vi.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x=[],this._y=[]},lineEnd:function(){var i=this._x,e=this._y,t=i.length;if(t)if(this._line?this._context.lineTo(i[0],e[0]):this._context.moveTo(i[0],e[0]),t===2)this._context.lineTo(i[1],e[1]);else for(var n=Tn(i),s=Tn(e),r=0,o=1;o<t;++r,++o)this._context.bezierCurveTo(n[0][r],s[0][r],n[1][r],s[1][r],i[o],e[o]);(this._line||this._line!==0&&t===1)&&this._context.closePath(),this._line=1-this._line,this._x=this._y=null},point:function(i,e){this._x.push(+i),this._y.push(+e)}};function Tn(i){var e,t=i.length-1,n,s=new Array(t),r=new Array(t),o=new Array(t);for(s[0]=0,r[0]=2,o[0]=i[0]+2*i[1],e=1;e<t-1;++e)s[e]=1,r[e]=4,o[e]=4*i[e]+2*i[e+1];for(s[t-1]=2,r[t-1]=7,o[t-1]=8*i[t-1]+i[t],e=1;e<t;++e)n=s[e]/r[e-1],r[e]-=n,o[e]-=n*o[e-1];for(s[t-1]=o[t-1]/r[t-1],e=t-2;e>=0;--e)s[e]=(o[e]-s[e+1])/r[e];for(r[t-1]=(i[t]+s[t-1])/2,e=0;e<t-1;++e)r[e]=2*i[e+1]-s[e+1];return[s,r]}function Qi(i,e){this._context=i,this._t=e}Qi.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x=this._y=NaN,this._point=0},lineEnd:function(){0<this._t&&this._t<1&&this._point===2&&this._context.lineTo(this._x,this._y),(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line>=0&&(this._t=1-this._t,this._line=1-this._line)},point:function(i,e){switch(i=+i,e=+e,this._point){case 0:this._point=1,this._line?this._context.lineTo(i,e):this._context.moveTo(i,e);break;case 1:this._point=2;default:{if(this._t<=0)this._context.lineTo(this._x,e),this._context.lineTo(i,e);else{var t=this._x*(1-this._t)+i*this._t;this._context.lineTo(t,this._y),this._context.lineTo(t,e)}break}}this._x=i,this._y=e}};function Sn(i,e){if((o=i.length)>1)for(var t=1,n,s,r=i[e[0]],o,a=r.length;t<o;++t)for(s=r,r=i[e[t]],n=0;n<a;++n)r[n][1]+=r[n][0]=isNaN(s[n][1])?s[n][0]:s[n][1]}function En(i){for(var e=i.length,t=new Array(e);--e>=0;)t[e]=e;return t}function Wi(i,e){return i[e]}function Gi(i){let e=[];return e.key=i,e}function qn(){var i=S([]),e=En,t=Sn,n=Wi;function s(r){var o=Array.from(i.apply(this,arguments),Gi),a,l=o.length,c=-1,p;for(let d of r)for(a=0,++c;a<l;++a)(o[a][c]=[0,+n(d,o[a].key,c,r)]).data=d;for(a=0,p=At(e(o));a<l;++a)o[p[a]].index=a;return t(o,p),o}return s.keys=function(r){return arguments.length?(i=typeof r=="function"?r:S(Array.from(r)),s):i},s.value=function(r){return arguments.length?(n=typeof r=="function"?r:S(+r),s):n},s.order=function(r){return arguments.length?(e=r==null?En:typeof r=="function"?r:S(Array.from(r)),s):e},s.offset=function(r){return arguments.length?(t=r??Sn,s):t},s}var Be=b`
  .spark {
    display: block;
    width: 100%;
    height: 32px;
    margin-top: 6px;
    overflow: visible;
  }
  .spark path {
    fill: none;
    stroke: var(--_accent);
    stroke-width: 1.5;
    vector-effect: non-scaling-stroke;
    stroke-linejoin: round;
  }
`;function Fe(i){if(i.length<2)return u`<svg class="spark" aria-hidden="true"></svg>`;let e=Math.max(...i,1),t=X((n,s)=>s/(i.length-1)*100,n=>30-n/e*28)(i);return u`<svg class="spark" aria-hidden="true" viewBox="0 0 100 32" preserveAspectRatio="none">${k`<path d=${t}/>`}</svg>`}var Ot=["users","sessions","events","eventsPerSession","medianSessionDurationSeconds","bounceShare"],Yi=new Set(["bounceShare"]),je=class extends v{static{this.styles=[...v.styles,Be,b`
      section {
        padding: 0;
        gap: 0;
        overflow: clip;
      }
      header {
        display: none;
      }
      ul {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(150px, 42cqi), 1fr));
        margin: 0 -1px -1px 0;
        padding: 0;
        list-style: none;
      }
      li {
        padding: 16px 18px 14px;
        display: flex;
        flex-direction: column;
        gap: 2px;
        min-width: 0;
        border: 0 solid var(--_border);
        border-width: 0 1px 1px 0;
      }
      .label {
        font-size: 13px;
        color: var(--_muted);
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .value {
        font-size: 28px;
        line-height: 32px;
        font-weight: 600;
        letter-spacing: -0.02em;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      @container (max-width: 420px) {
        li {
          padding: 12px 14px;
        }
        .value {
          font-size: 22px;
          line-height: 28px;
        }
      }
      .change {
        font-size: 13px;
        min-height: 19px;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      .skeleton.tile {
        height: 24px;
        width: 60%;
        margin: 4px 0;
      }
    `]}questions(e){return{summary:Lt(e),events:{endpoint:"timeseries",interval:e.interval,fill:!0},users:{endpoint:"active",interval:e.interval==="hour"?"day":e.interval,by:"user"},sessions:{endpoint:"active",interval:e.interval==="hour"?"day":e.interval,by:"session"}}}defaultHeading(){return this.format.text("total")}isEmpty(){return!1}skeleton(){return u`<ul aria-hidden="true">
      ${Ot.map(e=>u`<li><span class="label">${this.format.text(e)}</span><span class="skeleton tile"></span><span class="change"></span><svg class="spark"></svg></li>`)}
    </ul>`}content(){let e=this.answer("summary");return u`<ul part="figures">
      ${Ot.map(t=>this.#e(t,e[t],e.previous?.[t]))}
    </ul>`}table(){let e=this.format,t=this.answer("summary");return{head:["",e.text("value"),e.text("previous")],rows:Ot.map(n=>[e.text(n),t[n],t.previous?.[n]??""])}}#e(e,t,n){let s=this.format,r=this.page.comparedRange?s.change(t,n):void 0,o=r&&r.sign!==0&&r.sign>0!==Yi.has(e);return u`<li part="figure">
      <span class="label">${s.text(e)}</span>
      <span class="value" title=${s.exact(t)}><bdi>${Ki(s,e,t)}</bdi></span>
      <span class="change">${r?Ut(s,r,o?"up":"down"):f}</span>
      ${this.#t(e)}
    </li>`}#t(e){let n=(this.answers[e]?.points??[]).map(s=>s.count??s.activeCount??0);return Fe(n)}};function Lt(i){let e=i.comparedRange;return{endpoint:"summary",...e?{compare:`${e.from}..${e.to}`}:{}}}function Ut(i,e,t){if(e.sign===0)return u`<span class="muted">${i.text("no_change")}</span>`;let[n,s]=e.sign>0?["\u25B2","up"]:["\u25BC","down"];return u`<span class=${t}><span aria-hidden="true">${n} <bdi>${e.text}</bdi></span><span class="sr">${i.text(s,e.text)}</span></span>`}function Ki(i,e,t){return e==="medianSessionDurationSeconds"?i.duration(t):e==="bounceShare"?i.percent(t):i.short(t)}var Ve=b`
  .event {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(0, auto) auto;
    align-items: center;
    gap: 4px 16px;
    width: 100%;
    min-height: 38px;
    padding: 0 8px;
    border: 0;
    border-radius: 7px;
    background: none;
    text-align: start;
  }
  .what,
  .who {
    min-width: 0;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .what b {
    font-weight: 500;
    margin-inline-end: 6px;
  }
  .who {
    max-width: 180px;
    color: var(--_muted);
  }
  .at {
    min-width: 62px;
    color: var(--_muted);
    text-align: end;
    font-variant-numeric: tabular-nums;
    white-space: nowrap;
  }
  @container (max-width: 420px) {
    .event {
      grid-template-columns: minmax(0, 1fr) auto;
    }
    .event .who {
      display: none;
    }
  }
`;function se(i,e){return e===void 0?i:[...i,`tenant_id:eq:${e}`]}function Qe(i,e){return u`<span class="what"><b><bdi>${e.eventType}</bdi></b>${e.itemId?u`<span class="muted"><bdi>${e.itemId}</bdi></span>`:f}</span>
    <span class="who"><bdi>${e.userId??""}</bdi></span>
    <time class="at" datetime=${e.timestamp}>${i.clock(new Date(e.timestamp))}</time>`}function Hn(i){try{let e=JSON.parse(i.metadataJson??"{}");return typeof e!="object"||e===null?[]:Object.entries(e).map(([t,n])=>[t,typeof n=="string"?n:JSON.stringify(n)])}catch{return[["",i.metadataJson??""]]}}var re=class extends v{static{this.properties={dimension:{},limit:{type:Number},chosen:{state:!0}}}static{this.styles=[...v.styles,Ue,b`
      .block {
        height: 264px;
      }
      :host([data-tabs]) h3 {
        position: absolute;
        clip-path: inset(50%);
      }
      [role="tablist"] {
        display: flex;
        flex: 1;
        gap: 2px;
        margin-inline-start: -8px;
        min-width: 0;
        overflow-x: auto;
        scrollbar-width: none;
      }
      [role="tab"] {
        padding: 4px 8px;
        border: 0;
        border-radius: 8px;
        background: none;
        color: var(--_muted);
        cursor: pointer;
        white-space: nowrap;
        font-weight: 500;
      }
      [role="tab"][aria-selected="true"] {
        color: var(--_text);
        font-weight: 600;
      }
    `]}constructor(){super(),this.dimension="event_type",this.limit=8}asksBy(){return["dimension","limit"]}get asksByChoice(){return!0}willUpdate(e){super.willUpdate(e),e.has("chosen")&&this.hasUpdated&&this.asksByChoice&&this.page.askAgain(this)}get dimensions(){return this.dimension.split(",").map(e=>e.trim()).filter(Boolean)}get shown(){return this.chosen&&this.dimensions.includes(this.chosen)?this.chosen:this.dimensions[0]??""}questions(e){return{top:{endpoint:"top",dimension:this.shown,limit:this.limit}}}defaultHeading(){return this.label(this.shown)}label(e){return e in ee?this.format.text(e):e.replace(/^meta:/,"").replaceAll("\\","")}isEmpty(){return this.items.length===0}get items(){return this.answer("top").items}actions(){let e=this.dimensions;return e.length<2?f:u`<div role="tablist" aria-label=${this.heading??this.defaultHeading()} @keydown=${this.#e}>
      ${e.map(t=>u`<button role="tab" aria-selected=${t===this.shown} tabindex=${t===this.shown?0:-1}
        @click=${()=>this.chosen=t}>${this.label(t)}</button>`)}
    </div>`}render(){return this.toggleAttribute("data-tabs",this.dimensions.length>1&&!this.heading),super.render()}#e=e=>{let t=e.key==="ArrowRight"?1:e.key==="ArrowLeft"?-1:0;if(!t)return;let n=this.dimensions,s=(n.indexOf(this.shown)+t+n.length)%n.length;this.chosen=n[s],this.updateComplete.then(()=>this.renderRoot.querySelector('[role="tab"][aria-selected="true"]')?.focus())};content(){let e=this.format,{items:t}=this,n=Math.max(...t.map(s=>s.count),1);return u`<ol class="bars" part="list">
      ${t.map(s=>u`<li><button class="row" part="row" ${$("--share",`${s.count/n*100}%`)}
          title="${e.text("filter")}: ${s.key}" @click=${()=>this.#t(s)}>
          <span class="key"><bdi>${s.key}</bdi></span>
          <span class="count"><span class="share">${e.percent(s.share)}</span><span title=${e.exact(s.count)}>${e.short(s.count)}</span></span>
        </button></li>`)}
    </ol>`}table(){let e=this.format,{items:t}=this;return{head:[this.label(this.shown),e.text("events"),e.text("share"),e.text("users")],rows:t.map(n=>[n.key,n.count,n.share,n.users??""])}}#t(e){let t=`${this.shown}:eq:${e.key}`,n=new CustomEvent("nealytics-select",{detail:{filter:t,...e},bubbles:!0,composed:!0,cancelable:!0});this.dispatchEvent(n)&&this.page.addFilter(...se([t],e.tenantId))}};var Xi=4,Ji=1e3,J=class i extends re{static{this.question=e=>({endpoint:"properties",limit:Xi,values:e})}static listed(e){return(e?.keys??[]).filter(({distinctValues:t})=>t>1&&t<Ji)}questions(e){return{properties:i.question(this.limit)}}get asksByChoice(){return!1}get#e(){return i.listed(this.answers.properties)}get dimensions(){return this.#e.map(({key:e})=>e)}get items(){return(this.#e.find(({key:t})=>t===this.shown)?.values??[]).map(({value:t,count:n,share:s})=>({key:t,count:n,share:s}))}};var We=["nealytics-range-change","nealytics-filter-change"],oe="tenant_id:eq:",Zi=500,Ge=class extends ge{static{this.properties={funnel:{},syncUrl:{attribute:"sync-url"},open:{state:!0},has:{state:!0},tenants:{state:!0},said:{state:!0}}}static{this.styles=[Oe,Le,b`
      :host {
        container-name: page;
      }
      .bar {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 8px;
        margin-block-end: var(--_gap);
      }
      .chips {
        display: contents;
      }
      .end {
        margin-inline-start: auto;
      }
      .bar .said {
        color: var(--_muted);
        font-size: 13px;
      }
      select {
        min-height: 34px;
        max-width: 200px;
        padding: 0 8px;
        border: 1px solid var(--_border);
        border-radius: 8px;
        background: var(--_sheet);
        text-overflow: ellipsis;
        cursor: pointer;
      }
      .chip {
        display: inline-flex;
        align-items: center;
        gap: 4px;
        max-width: 320px;
        min-height: 34px;
        padding-inline: 12px 4px;
        border-radius: 8px;
        background: color-mix(in oklab, var(--_accent) 12%, transparent);
      }
      .chip span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .layout,
      ::slotted(*) {
        min-width: 0;
      }
      .layout {
        display: grid;
        grid-template-columns: repeat(12, minmax(0, 1fr));
        gap: var(--_gap);
      }
      .layout > * {
        grid-column: span 6;
      }
      .layout > .wide {
        grid-column: 1 / -1;
      }
      slot {
        display: grid;
        gap: var(--_gap);
      }
      form {
        display: grid;
        gap: 8px;
        padding: 8px 10px;
        border-block-start: 1px solid var(--_border);
        margin-block-start: 6px;
      }
      .dates {
        display: grid;
        grid-template-columns: 1fr 1fr;
        gap: 8px;
      }
      label {
        display: grid;
        gap: 2px;
        font-size: 12px;
        color: var(--_muted);
      }
      input {
        min-height: 34px;
        padding: 0 8px;
        border: 1px solid var(--_border);
        border-radius: 8px;
        background: none;
        color: var(--_text);
        min-width: 0;
      }
      @container page (max-width: 760px) {
        .layout > * {
          grid-column: 1 / -1;
        }
      }
      @container page (max-width: 600px) {
        .sheet,
        .sheet.end {
          position: fixed;
          inset-block: auto 0;
          inset-inline: 0;
          border-radius: 16px 16px 0 0;
          padding: 12px 12px max(16px, env(safe-area-inset-bottom));
          box-shadow: 0 -8px 40px rgb(0 0 0 / 25%);
        }
        .item {
          min-height: 44px;
        }
        /* One line, and what narrows the page below it. */
        .bar select,
        .chip {
          order: 1;
        }
        .bar select {
          flex: 1 0 100%;
          max-width: none;
          min-height: 40px;
        }
        [part="compare"] .name {
          display: none;
        }
      }
      @media print {
        .bar .menu.end {
          display: none;
        }
      }
    `]}#e;#t;constructor(){super(),this.said="",this.has={items:!0,users:!0,keys:!0}}get ownsPage(){return!0}connectedCallback(){if(super.connectedCallback(),document.addEventListener("pointerdown",this.#x),this.page.addEventListener("renewed",this.#i),this.syncUrl!==void 0){this.#t=new Pe(this.page,this.syncUrl||"nealytics"),this.#t.read(location.href),window.addEventListener("popstate",this.#s);for(let e of We)this.page.addEventListener(e,this.#n)}this.#e={last:!0,questions:e=>({summary:Lt(e),...this.childElementCount>0?{}:{items:{endpoint:"top",dimension:"item_id",limit:8},keys:J.question(8)},...this.tenants?{tenants:{endpoint:"top",dimension:"tenant_id",limit:Zi,filter:null}}:{}}),receive:e=>this.#r(e),waiting:()=>{}},this.page.add(this.#e)}disconnectedCallback(){super.disconnectedCallback(),this.#e&&this.page.remove(this.#e),document.removeEventListener("pointerdown",this.#x),this.page.removeEventListener("renewed",this.#i),window.removeEventListener("popstate",this.#s);for(let e of We)this.page.removeEventListener(e,this.#n)}#i=()=>{this.#d!==void 0&&(this.page.filters=this.page.filters.filter(e=>!e.startsWith(oe))),this.tenants=void 0};#n=()=>{let e=this.#t?.write(location.href)??location.href;e!==location.href&&history.pushState(history.state,"",e)};#s=()=>{for(let e of We)this.page.removeEventListener(e,this.#n);this.#t?.read(location.href);for(let e of We)this.page.addEventListener(e,this.#n)};#r(e){let t=a=>e[a]instanceof x?void 0:e[a],n=t("summary"),s=t("tenants")?.items.map(({key:a})=>a);if(s?this.tenants=s:n&&n.tenantId===void 0&&!this.tenants?(this.tenants=[],this.page.askAgain(this.#e)):n?.tenantId!==void 0&&(this.tenants=void 0),!n?.events)return;let r=J.listed(t("keys")),o={items:(t("items")?.items.length??0)>0,users:n.users>0,keys:r.length>0};JSON.stringify(o)!==JSON.stringify(this.has)&&(this.has=o)}updated(e){super.updated(e),e.has("open")&&this.open&&this.renderRoot.querySelector(".sheet .item")?.focus()}render(){return u`<div class="bar" part="controls" @keydown=${this.#$} @focusout=${this.#b}>
        ${this.#l()}${this.#a()}
        ${this.tenants?.length?this.#p(this.tenants):f}
        <div class="chips">${this.page.filters.filter(e=>!this.tenants||!e.startsWith(oe)).map(e=>this.#c(e))}</div>
        ${this.#m()}
      </div>
      ${this.childElementCount>0?u`<slot></slot>`:this.#o()}`}#o(){let{items:e,users:t,keys:n}=this.has,s=this.tenants&&!this.#d;return u`<div class="layout" part="layout">
      <nealytics-figures class="wide"></nealytics-figures>
      <nealytics-timeseries class="wide"></nealytics-timeseries>
      ${s?u`<nealytics-timeseries group-by="tenant_id" kind="line" heading=${this.format.text("tenant_id")}></nealytics-timeseries>
            <nealytics-top dimension="tenant_id"></nealytics-top>`:f}
      <nealytics-top dimension="event_type"></nealytics-top>
      ${e?u`<nealytics-top dimension="item_id"></nealytics-top>`:f}
      ${t?u`<nealytics-active></nealytics-active>`:f}
      <nealytics-heatmap class=${t?"":"wide"}></nealytics-heatmap>
      ${this.funnel?u`<nealytics-funnel class="wide" steps=${this.funnel}></nealytics-funnel>`:f}
      ${t?u`<nealytics-retention class=${n?"":"wide"}></nealytics-retention>`:f}
      ${n?u`<nealytics-properties class=${t?"":"wide"}></nealytics-properties>`:f}
    </div>`}#l(){let e=this.format,{range:t}=this.page,n=t.preset?e.text(t.preset):e.days(t.from,t.to);return u`<div class="menu">
      <button class="button" part="range" aria-haspopup="dialog" aria-expanded=${this.open==="range"} @click=${()=>this.#_("range")}>
        ${M("calendar")}${n}${M("chevron")}
      </button>
      ${this.open==="range"?u`<div class="sheet" role="dialog" aria-label=${e.text("custom")}>
            ${G.map(s=>u`<button class="item" aria-current=${t.preset===s?"true":"false"}
              @click=${()=>this.#g(P(s,this.page.today))}>${e.text(s)}</button>`)}
            <form @submit=${this.#w}>
              <div class="dates">
                <label>${e.text("from")}<input name="from" type="date" required .value=${t.from} max=${this.page.today}></label>
                <label>${e.text("to")}<input name="to" type="date" required .value=${t.to}></label>
              </div>
              <button class="button primary">${e.text("apply")}</button>
            </form>
          </div>`:f}
    </div>`}#a(){let e=this.format,t=n=>e.text(`compare_${n}`);return u`<div class="menu">
      <button class="button" part="compare" aria-haspopup="dialog" aria-label="${e.text("compare")}: ${t(this.page.comparison)}" aria-expanded=${this.open==="compare"} @click=${()=>this.#_("compare")}>
        ${M("compare")}<span class="name">${t(this.page.comparison)}</span>${M("chevron")}
      </button>
      ${this.open==="compare"?u`<div class="sheet" role="dialog" aria-label=${e.text("compare")}>
            ${Y.map(n=>u`<button class="item" aria-current=${this.page.comparison===n?"true":"false"}
              @click=${()=>this.#u(()=>this.page.comparison=n)}>${t(n)}</button>`)}
          </div>`:f}
    </div>`}#c(e){let[,t="",n="",s=""]=/^((?:meta:)?(?:[^:\\]|\\.)*):(\w+):(.*)$/s.exec(e)??[],r=t in ee?this.format.text(t):t.replace(/^meta:/,"");return u`<span class="chip" part="filter"><span>${r} ${n==="eq"?"=":n} ${s}</span>
      <button class="button icon quiet" aria-label="${this.format.text("remove_filter")}: ${r} ${s}"
        @click=${()=>this.page.removeFilter(e)}>${M("close")}</button>
    </span>`}get#d(){return this.page.filters.find(e=>e.startsWith(oe))?.slice(oe.length)}#p(e){let t=this.format,n=this.#d,s=o=>{let{value:a}=o.target,l=this.page.filters.filter(c=>!c.startsWith(oe));this.page.filters=a?[...l,oe+a]:l},r=n===void 0||e.includes(n)?e:[n,...e];return u`<select part="tenant" aria-label=${t.text("tenant_id")} @change=${s}>
      <option value="" .selected=${n===void 0}>${t.text("all_tenants")}</option>
      ${r.map(o=>u`<option value=${o} .selected=${o===n}>${o}</option>`)}
    </select>`}#m(){let e=this.format,t=(n,s)=>u`<button class="item" @click=${()=>this.#u(s)}>${e.text(n)}</button>`;return u`<span class="said end" role="status">${this.said}</span><div class="menu">
      <button class="button icon" part="more" aria-haspopup="dialog" aria-label=${e.text("more")} aria-expanded=${this.open==="more"} @click=${()=>this.#_("more")}>
        ${M("more")}
      </button>
      ${this.open==="more"?u`<div class="sheet end" role="dialog" aria-label=${e.text("more")}>
            ${t("download_all",()=>{this.#h()})}
            ${this.#t?t("copy_link",()=>{this.#y()}):f}
            ${t("print",()=>window.print())}
          </div>`:f}
    </div>`}async#y(){try{await navigator.clipboard.writeText(this.#t?.write(location.href)??location.href),this.#f(this.format.text("copied"))}catch(e){console.warn(`nealytics: the browser does not allow to copy: ${String(e)}`),this.#f(this.format.text("copy_failed"))}}async#h(){let{from:e,to:t,tz:n,filter:s}=this.page.shared,r=new URLSearchParams([["format","csv"],["from",e],["to",t],["tz",n],...s.map(o=>["filter",o])]);this.#f(`${this.format.text("loading")} \u2026`,Number.POSITIVE_INFINITY);try{let o=await this.page.client.fetch(`api/v1/telemetry/export?${r}`,{});Ie(`events-${e}-${t}.csv`,await o.blob(),"text/csv;charset=utf-8"),this.#f("")}catch(o){console.warn(`nealytics: export: ${String(o)}`),this.#f(this.format.text(o instanceof x&&o.code==="offline"?"offline":"export_failed"))}}#f(e,t=4e3){this.said=e,Number.isFinite(t)&&setTimeout(()=>this.said=this.said===e?"":this.said,t)}#_(e){this.open=this.open===e?void 0:e}#g(e){this.#u(()=>this.page.range=e)}#u(e){let t=this.open;this.open=void 0,e(),this.updateComplete.then(()=>this.renderRoot.querySelector(`[part="${t}"]`)?.focus())}#w=e=>{e.preventDefault();let t=new FormData(e.target),[n,s]=[String(t.get("from")),String(t.get("to"))].sort();I(n)&&I(s)&&this.#g({from:n,to:s})};#$=e=>{e.key==="Escape"&&this.open&&this.#u(()=>{})};#b=e=>{let t=e.target.closest(".menu"),n=e.relatedTarget;this.open&&n&&t&&!t.contains(n)&&(this.open=void 0)};#x=e=>{this.open&&!e.composedPath().some(t=>t instanceof Element&&t.matches(".menu"))&&(this.open=void 0)}};var Bn=["daily","weekly","monthly"],Ye=class extends v{static{this.properties={by:{}}}static{this.styles=[...v.styles,Be,b`
      .block {
        height: 172px;
      }
      .meter {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        align-items: baseline;
        gap: 8px 12px;
      }
      .value {
        font-size: 28px;
        line-height: 32px;
        font-weight: 600;
        letter-spacing: -0.02em;
        font-variant-numeric: tabular-nums;
      }
      .track {
        grid-column: 1 / -1;
        height: 8px;
        border-radius: 4px;
        background: var(--_fill);
        overflow: clip;
      }
      .track div {
        width: var(--share);
        height: 100%;
        border-radius: 4px;
        background: var(--_accent);
      }
      .label {
        font-size: 13px;
        color: var(--_muted);
      }
      ul {
        display: grid;
        grid-template-columns: repeat(3, minmax(0, 1fr));
        gap: 16px 24px;
        margin: 20px 0 0;
        padding: 0;
        list-style: none;
      }
      li {
        display: flex;
        flex-direction: column;
        min-width: 0;
      }
      li .value {
        font-size: 20px;
        line-height: 28px;
      }
      @container (max-width: 420px) {
        ul {
          gap: 12px 14px;
        }
      }
    `]}constructor(){super(),this.by="user"}asksBy(){return["by"]}questions(e){let t={endpoint:"active",interval:"day",by:this.by};return{weekly:{...t,rolling:7},monthly:{...t,rolling:30}}}defaultHeading(){return this.format.text(this.by==="user"?"active_users":"active_sessions")}get#e(){let[e,t]=[this.answer("weekly").points,this.answer("monthly").points],n=t.map((r,o)=>({start:new Date(r.bucket),partial:r.partial,daily:r.activeCount,weekly:e[o]?.rollingCount??0,monthly:r.rollingCount,stickiness:r.stickiness})),s=n.filter(({partial:r})=>!r);return s.length>0?s:n}isEmpty(){return!this.#e.some(({monthly:e})=>e>0)}content(){let e=this.format,t=this.#e,n=t.at(-1),s=t.reduce((r,o)=>r+o.stickiness,0)/t.length;return u`<div class="meter">
        <span class="value" part="stickiness"><bdi>${e.percent(s)}</bdi></span>
        <span class="label">${e.text("stickiness_hint")}</span>
        <div class="track" aria-hidden="true"><div ${$("--share",`${s*100}%`)}></div></div>
      </div>
      <ul part="figures">
        ${Bn.map(r=>u`<li part="figure">
          <span class="label">${e.text(r)}</span>
          <span class="value" title=${e.exact(n[r])}><bdi>${e.short(n[r])}</bdi></span>
          ${Fe(t.map(o=>o[r]))}
        </li>`)}
      </ul>
      ${this.hiddenTable()}`}table(){let e=this.format;return{head:[e.text("time"),...Bn.map(t=>e.text(t)),e.text("stickiness")],rows:this.#e.map(t=>[e.bucket(t.start,"day"),t.daily,t.weekly,t.monthly,t.stickiness])}}};var Ke=class extends v{static{this.properties={steps:{},window:{},by:{}}}static{this.styles=[...v.styles,b`
      .block {
        height: 220px;
      }
      ol {
        display: grid;
        grid-auto-columns: minmax(0, 1fr);
        grid-auto-flow: column;
        gap: 0;
        margin: 0;
        padding: 0;
        list-style: none;
      }
      li {
        display: grid;
        grid-template-rows: auto 132px auto;
        gap: 8px;
        min-width: 0;
      }
      .name {
        padding-inline-end: 12px;
        font-weight: 500;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .bars {
        position: relative;
        display: grid;
        grid-template-columns: minmax(0, 1fr) minmax(0, 0.55fr);
        align-items: end;
      }
      li:last-child .bars {
        grid-template-columns: minmax(0, 1fr) 0;
      }
      .bar {
        height: max(3px, var(--height));
        border-radius: 6px 6px 2px 2px;
        background: var(--_accent);
      }
      .slope {
        height: max(3px, var(--height));
        background: color-mix(in oklab, var(--_accent) 15%, transparent);
        clip-path: polygon(0 0, 100% calc(100% - var(--next)), 100% 100%, 0 100%);
      }
      .slope:dir(rtl) {
        transform: scaleX(-1);
      }
      .rate {
        position: absolute;
        inset-block-end: 6px;
        inset-inline-end: 0;
        width: 35%;
        text-align: center;
        font-size: 12px;
        font-weight: 600;
        font-variant-numeric: tabular-nums;
      }
      .count {
        font-size: 18px;
        font-weight: 600;
        font-variant-numeric: tabular-nums;
        letter-spacing: -0.01em;
      }
      .detail {
        font-size: 13px;
        color: var(--_muted);
        white-space: nowrap;
      }
      @container (max-width: 600px) {
        ol {
          grid-auto-flow: row;
          gap: 14px;
        }
        li {
          grid-template-rows: auto auto auto;
          gap: 4px;
        }
        .bars,
        li:last-child .bars {
          display: block;
          height: 14px;
          border-radius: 7px;
          background: var(--_fill);
        }
        .bar {
          height: 100%;
          width: var(--height);
          border-radius: 7px;
        }
        .slope,
        .rate {
          display: none;
        }
        .numbers {
          display: flex;
          align-items: baseline;
          gap: 10px;
        }
      }
    `]}constructor(){super(),this.steps="",this.window="7d",this.by="user"}asksBy(){return["steps","window","by"]}questions(e){return{funnel:{endpoint:"funnel",step:this.steps.split(",").map(n=>n.trim()).filter(Boolean),window:this.window,by:this.by}}}defaultHeading(){return this.format.text("funnel")}isEmpty(){return!this.answer("funnel").steps[0]?.count}content(){let e=this.format,{steps:t}=this.answer("funnel");return u`<ol part="funnel">
      ${t.map((n,s)=>{let r=t[s+1],o=`${n.conversion*100}%`,a=n.medianSecondsFromPrevious;return u`<li ${$("--height",o)} ${$("--next",`${(r&&n.count?r.count/n.count:0)*100}%`)}>
          <span class="name" title=${n.eventType}><bdi>${n.eventType}</bdi></span>
          <div class="bars" aria-hidden="true">
            <div class="bar"></div>
            ${r?u`<div class="slope"></div><span class="rate">${e.percent(r.conversionFromPrevious)}</span>`:f}
          </div>
          <div class="numbers">
            <div class="count" title=${e.exact(n.count)}>${e.short(n.count)}</div>
            <div class="detail">${e.percent(n.conversion)}${a===void 0?f:u` · ${e.text("median_time")} ${e.duration(a)}`}</div>
          </div>
        </li>`})}
    </ol>`}table(){let e=this.format,{steps:t}=this.answer("funnel");return{head:[e.text("event_type"),e.text("users"),e.text("share"),`${e.text("median_time")} (s)`],rows:t.map(n=>[n.eventType,n.count,n.conversion,n.medianSecondsFromPrevious??""])}}};var Xe=class extends v{static{this.properties={measure:{}}}static{this.styles=[...v.styles,b`
      .block {
        height: 238px;
      }
      table {
        width: 100%;
        border-collapse: separate;
        border-spacing: 2px;
        table-layout: fixed;
        font-size: 12px;
      }
      th {
        padding: 0;
        font-weight: 400;
        color: var(--_muted);
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      th[scope="row"] {
        text-align: start;
      }
      /* The first column has the names of the days. */
      thead th:first-child {
        width: calc(var(--first) + 10px);
      }
      thead th {
        text-align: start;
        overflow: visible;
      }
      td {
        height: 24px;
        padding: 0;
        border-radius: 4px;
        background: color-mix(in oklab, var(--_accent) var(--level), var(--_fill));
      }
      td:hover {
        box-shadow: inset 0 0 0 1.5px var(--_text);
      }
      @container (max-width: 600px) {
        table {
          border-spacing: 1px;
        }
        td {
          border-radius: 2px;
        }
      }
    `]}constructor(){super(),this.measure="events"}questions(e){return{heatmap:{endpoint:"heatmap"}}}defaultHeading(){return this.format.text("heatmap")}get#e(){return this.answer("heatmap").cells}#t(e){return this.measure==="users"?e.users:e.count}isEmpty(){return!this.#e.some(({count:e})=>e>0)}content(){let e=this.format,t=Math.max(...this.#e.map(r=>this.#t(r)),1),n=Array.from({length:24},(r,o)=>o),s=Math.max(...Fn(e.lang).map(r=>e.weekday(r).length));return u`<table part="table" ${$("--first",`${s}ch`)}>
      <thead><tr>
        <th scope="col"><span class="sr">${e.text("weekday")}</span></th>
        ${n.map(r=>u`<th scope="col"><span class=${r%6?"sr":""}>${e.hour(r)}</span></th>`)}
      </tr></thead>
      <tbody>${Fn(e.lang).map(r=>u`<tr>
        <th scope="row">${e.weekday(r)}</th>
        ${n.map(o=>{let a=this.#t(this.#e[(r-1)*24+o]);return u`<td title="${e.weekday(r)} ${e.hour(o)}: ${e.exact(a)} ${e.text(this.measure)}"
            ${$("--level",`${Math.round(a/t*100)}%`)}><span class="sr">${e.exact(a)}</span></td>`})}
      </tr>`)}</tbody>
    </table>`}table(){let e=this.format;return{head:[e.text("weekday"),e.text("hour"),e.text("events"),e.text("users")],rows:this.#e.map(({weekday:t,hour:n,count:s,users:r})=>[e.weekday(t),n,s,r])}}};function Fn(i){let t=new Intl.Locale(i).getWeekInfo?.().firstDay??1;return Array.from({length:7},(n,s)=>(t-1+s)%7+1)}var{I:es}=rn,jn=i=>i;var Vn=()=>document.createComment(""),ae=(i,e,t)=>{let n=i._$AA.parentNode,s=e===void 0?i._$AB:e._$AA;if(t===void 0){let r=n.insertBefore(Vn(),s),o=n.insertBefore(Vn(),s);t=new es(r,o,i,i.options)}else{let r=t._$AB.nextSibling,o=t._$AM,a=o!==i;if(a){let l;t._$AQ?.(i),t._$AM=i,t._$AP!==void 0&&(l=i._$AU)!==o._$AU&&t._$AP(l)}if(r!==s||a){let l=t._$AA;for(;l!==r;){let c=jn(l).nextSibling;jn(n).insertBefore(l,s),l=c}}}return t},z=(i,e,t=i)=>(i._$AI(e,t),i),ts={},Qn=(i,e=ts)=>i._$AH=e,Wn=i=>i._$AH,Je=i=>{i._$AR(),i._$AA.remove()};var Gn=(i,e,t)=>{let n=new Map;for(let s=e;s<=t;s++)n.set(i[s],s);return n},Yn=De(class extends te{constructor(i){if(super(i),i.type!==gn.CHILD)throw Error("repeat() can only be used in text expressions")}dt(i,e,t){let n;t===void 0?t=e:e!==void 0&&(n=e);let s=[],r=[],o=0;for(let a of i)s[o]=n?n(a,o):o,r[o]=t(a,o),o++;return{values:r,keys:s}}render(i,e,t){return this.dt(i,e,t).values}update(i,[e,t,n]){let s=Wn(i),{values:r,keys:o}=this.dt(e,t,n);if(!Array.isArray(s))return this.ut=o,r;let a=this.ut??=[],l=[],c,p,d=0,h=s.length-1,m=0,g=r.length-1;for(;d<=h&&m<=g;)if(s[d]===null)d++;else if(s[h]===null)h--;else if(a[d]===o[m])l[m]=z(s[d],r[m]),d++,m++;else if(a[h]===o[g])l[g]=z(s[h],r[g]),h--,g--;else if(a[d]===o[g])l[g]=z(s[d],r[g]),ae(i,l[g+1],s[d]),d++,g--;else if(a[h]===o[m])l[m]=z(s[h],r[m]),ae(i,s[d],s[h]),h--,m++;else if(c===void 0&&(c=Gn(o,m,g),p=Gn(a,d,h)),c.has(a[d]))if(c.has(a[h])){let _=p.get(o[m]),y=_!==void 0?s[_]:null;if(y===null){let w=ae(i,s[d]);z(w,r[m]),l[m]=w}else l[m]=z(y,r[m]),ae(i,s[d],y),s[_]=null;m++}else Je(s[h]),h--;else Je(s[d]),d++;for(;m<=g;){let _=ae(i,l[g+1]);z(_,r[m]),l[m++]=_}for(;d<=h;){let _=s[d++];_!==null&&Je(_)}return this.ut=o,Qn(i,l),R}});async function*Kn(i){let e=i.getReader(),t=new TextDecoder,n="";try{for(;;){let{done:s,value:r}=await e.read();if(s)return;let o=(n+t.decode(r,{stream:!0})).split(`

`);n=o.pop();for(let a of o){let l={};for(let c of a.split(`
`)){let p=c.indexOf(":");p>0&&(l[c.slice(0,p)]=c.slice(p+1).trimStart())}yield l}}}finally{await e.cancel().catch(()=>{})}}var Xn=2e3,ns=3e4,Ze=class{constructor(e,t,n){this.client=e;this.onEvent=t;this.onState=n}#e;#t="";start(e){this.stop();let t=this.#e=new AbortController;this.#i(e,t.signal)}stop(){this.#e?.abort(),this.#e=void 0}async#i(e,t){let n=0;for(this.onState("connecting");!t.aborted;){let s=Xn;try{let r=new URLSearchParams(e.map(a=>["filter",a]));this.#t&&r.set("lastEventId",this.#t);let o=await this.client.fetch(`api/v1/telemetry/live?${r}`,{signal:t,cache:"no-store"});if(this.onState("connected"),n=0,await this.#n(o.body)&&(s=0),t.aborted)return;this.onState("reconnecting")}catch(r){if(t.aborted)return;let o=r instanceof x?r:new x("offline",String(r)),a=o.code==="offline"||o.status===429||o.status>=500;if(this.onState(a?"reconnecting":"failed",o),!a)return;s=Math.max(o.retryAfterS*1e3,Math.min(ns,Xn*2**n++))*(.75+Math.random()/2)}await new Promise(r=>setTimeout(r,s))}}async#n(e){for await(let{id:t,event:n,data:s}of Kn(e)){if(this.#t=t??this.#t,n==="end")return this.client.expireToken(),!0;s&&!n&&this.onEvent(s)}return!1}};var Jn=50,tt=class extends v{static{this.properties={held:{state:!0},hovered:{state:!0},connection:{state:!0}}}#e=[];#t=[];#i;#n;#s;static{this.styles=[...v.styles,Ve,b`
      .body,
      .block {
        height: 330px;
        flex: none;
      }
      .state {
        display: inline-flex;
        align-items: center;
        gap: 7px;
        margin-inline-start: auto;
        color: var(--_muted);
        font-size: 13px;
        white-space: nowrap;
      }
      .dot {
        width: 8px;
        height: 8px;
        border-radius: 50%;
        background: var(--_muted);
      }
      .dot[data-state="connected"] {
        background: var(--_positive);
        animation: pulse 2s ease-out infinite;
      }
      .dot[data-state="reconnecting"] {
        background: light-dark(#b26a00, #f0b45e);
      }
      .dot[data-state="failed"] {
        background: var(--_negative);
      }
      ol {
        height: 100%;
        margin: 0 -8px;
        padding: 0;
        list-style: none;
        overflow-y: auto;
        overscroll-behavior: contain;
        scrollbar-width: thin;
      }
      li {
        animation: arrive 0.5s ease-out;
      }
      li + li {
        border-block-start: 1px solid var(--_border);
      }
      .event {
        min-height: 37px;
      }
      .behind {
        position: absolute;
        inset-block-start: 4px;
        inset-inline: 0;
        width: fit-content;
        margin: auto;
        padding: 2px 12px;
        border: 1px solid var(--_border);
        border-radius: 99px;
        background: var(--_sheet);
        color: var(--_accent);
        font-size: 13px;
        pointer-events: none;
      }
      @keyframes arrive {
        from {
          opacity: 0;
          background: color-mix(in oklab, var(--_accent) 18%, transparent);
        }
      }
      @keyframes pulse {
        from {
          box-shadow: 0 0 0 0 color-mix(in oklab, var(--_positive) 50%, transparent);
        }
        60%,
        to {
          box-shadow: 0 0 0 7px transparent;
        }
      }
      @media (prefers-reduced-motion: reduce) {
        li,
        .dot[data-state] {
          animation: none;
        }
      }
    `]}constructor(){super(),this.held=!1,this.hovered=!1,this.connection="connecting"}connectedCallback(){super.connectedCallback(),document.addEventListener("visibilitychange",this.#r);for(let e of["nealytics-filter-change","renewed"])this.page.addEventListener(e,this.#r)}disconnectedCallback(){super.disconnectedCallback(),document.removeEventListener("visibilitychange",this.#r);for(let e of["nealytics-filter-change","renewed"])this.page.removeEventListener(e,this.#r);this.#n?.stop(),this.#n=void 0,this.#i=void 0}questions(e){let t=JSON.stringify(e.filters),n=this.#i===t;this.#i=t;let s=new Date(Date.now()+864e5).toISOString();return n&&!this.problem?{}:{recent:{endpoint:"timeline",limit:Jn,before:s}}}waiting(){this.#e.length===0&&super.waiting()}receive(e){let t=e.recent;if(!t&&this.state!=="loading"){this.state="ready",this.connection==="failed"&&this.#r();return}super.receive(e),t?.events&&(this.#e=et([...this.#e,...t.events]),this.#n||this.#r())}#r=e=>{if(e?.type==="renewed"&&(this.#i=void 0),e&&e.type!=="visibilitychange"){this.#e=this.#t=[],this.#n?.stop(),this.#n=void 0;return}if(document.hidden){this.#n?.stop();return}if(this.state==="loading"||this.problem)return;let t=this.#n!==void 0;this.#n??=new Ze(this.page.client,n=>this.#l(JSON.parse(n)),(n,s)=>{this.connection=n,this.#s=s,n==="connected"&&!t&&(t=!0,this.#i=void 0,this.page.askAgain(this)),n==="failed"&&console.warn(`nealytics: <${this.localName}>: ${s?.code}: ${s?.message}`)}),this.#n.start(this.page.filters)};get#o(){return this.held||this.hovered}#l(e){this.#e.some(({eventId:t})=>t===e.eventId)||(this.#o?this.#t=et([e,...this.#t]):this.#e=et([e,...this.#e]),this.requestUpdate())}willUpdate(e){super.willUpdate(e),!(this.#o||this.#t.length===0)&&(this.#e=et([...this.#t,...this.#e]),this.#t=[])}defaultHeading(){return this.format.text("live")}isEmpty(){return!1}actions(){let e=this.format;if(this.state==="loading"||this.problem)return f;let t=this.connection==="failed"?"failed":this.#o?"paused":this.connection;return u`<span class="state"><span class="dot" part="dot" data-state=${t}></span><span role="status">${e.text(`live_${t}`)}</span></span>
      <button class="button icon quiet" aria-pressed=${this.held?"true":"false"} aria-label=${e.text("pause")}
        @click=${()=>this.held=!this.held}>${M(this.held?"play":"pause")}</button>`}content(){let e=this.format;if(this.#e.length===0){let t=this.connection==="failed"&&this.#s?.needsToken;return u`<div class="note" part="empty"><p>${e.text(t?"expired":"live_empty")}</p><p class="muted">${e.text(t?"expired_hint":"live_hint")}</p></div>`}return u`<ol part="list" tabindex="0" aria-label=${this.heading??this.defaultHeading()}
        @pointerenter=${this.#a} @pointerleave=${this.#c} @focus=${this.#a} @blur=${this.#c}>
        ${Yn(this.#e,({eventId:t})=>t,t=>u`<li><div class="event" part="row">${Qe(e,t)}</div></li>`)}
      </ol>
      ${this.#t.length?u`<div class="behind">${e.text("live_behind",e.exact(this.#t.length))}</div>`:f}`}#a=()=>{this.hovered=!0};#c=()=>{this.hovered=!1};table(){let e=this.format;return{head:[e.text("time"),e.text("event_type"),e.text("item_id"),e.text("user")],rows:this.#e.map(({timestamp:t,eventType:n,itemId:s,userId:r})=>[t,n,s??"",r??""])}}};function et(i){return[...new Map(i.map(t=>[t.eventId,t])).values()].sort((t,n)=>Date.parse(n.timestamp)-Date.parse(t.timestamp)).slice(0,Jn)}var Zn=7,is=30,ss=["next","previous"],nt=class extends v{static{this.properties={event:{},direction:{},depth:{type:Number},by:{},chosen:{state:!0},start:{state:!0}}}static{this.styles=[...v.styles,Ue,b`
      .block {
        height: 268px;
      }
      .picks {
        display: flex;
        gap: 6px;
        min-width: 0;
        margin-inline-start: auto;
      }
      select {
        min-height: 30px;
        min-width: 0;
        max-width: 180px;
        padding: 0 6px;
        border: 1px solid var(--_border);
        border-radius: 8px;
        background: var(--_sheet);
        text-overflow: ellipsis;
        cursor: pointer;
      }
      .steps {
        display: grid;
        grid-template-columns: repeat(var(--columns), minmax(0, 1fr));
        gap: 20px;
      }
      h4 {
        display: flex;
        justify-content: space-between;
        gap: 12px;
        margin: 0 0 6px;
        padding: 0 10px;
        font-size: 13px;
        font-weight: 400;
        color: var(--_muted);
      }
      h4 span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .row[aria-pressed="true"] {
        font-weight: 600;
      }
      .row[aria-pressed="true"]::before {
        background: color-mix(in oklab, var(--_accent) 26%, transparent);
      }
      .rest {
        cursor: default;
        color: var(--_muted);
      }
      .row.rest::before {
        background: var(--_fill);
      }
      @container (max-width: 600px) {
        header {
          flex-wrap: wrap;
        }
        .picks {
          order: 3;
          width: 100%;
        }
        select {
          flex: 1;
          max-width: none;
        }
        .steps {
          grid-template-columns: minmax(0, 1fr);
        }
      }
    `]}constructor(){super(),this.direction="next",this.depth=3,this.by="session",this.chosen=[]}asksBy(){return["event","direction","depth","by","start"]}willUpdate(e){e.has("event")&&(this.start=this.event),(e.has("direction")||e.has("start"))&&(this.chosen=[]),super.willUpdate(e),e.has("start")&&e.get("start")===void 0&&this.hasUpdated&&this.page.askAgain(this)}questions(e){let t=this.start??this.event,{direction:n,depth:s,by:r}=this;return{types:{endpoint:"top",dimension:"event_type",limit:is},...t?{paths:{endpoint:"paths",event:t,direction:n,depth:s,by:r}}:{}}}receive(e){let t=e.types,n=t&&!(t instanceof x)?t.items?.[0]?.key:void 0;if(!e.paths&&n){this.start=n;return}super.receive(e)}defaultHeading(){return this.format.text("paths")}get#e(){return this.answers.paths}isEmpty(){return!this.#e?.paths.length}actions(){let e=this.format;if(this.state==="loading"||this.problem)return f;let t=this.answer("types").items.map(({key:s})=>s),n=this.start&&!t.includes(this.start)?[this.start,...t]:t;return n.length===0?f:u`<div class="picks">
      <select aria-label=${e.text("direction")} @change=${s=>this.direction=ei(s)}>
        ${ss.map(s=>u`<option value=${s} ?selected=${s===this.direction}>${e.text(`paths_${s}`)}</option>`)}
      </select>
      <select aria-label=${e.text("start")} @change=${s=>this.start=ei(s)}>
        ${n.map(s=>u`<option value=${s} ?selected=${s===this.start}>${s}</option>`)}
      </select>
    </div>`}get#t(){let{starts:e,paths:t}=this.#e,n=[],s=[],r=e;for(let o=0;o<this.depth;o++){let a=t.filter(({events:c})=>c.length===o+1&&s.every((p,d)=>c[d]===p));if(a.length===0)break;n.push({before:s,total:r,paths:a});let l=a.find(({events:c})=>c[o]===this.chosen[o])??a[0];s=l.events,r=l.count}return n}content(){let e=this.#t;return u`<div class="steps" ${$("--columns",this.depth)}>
      ${e.map((t,n)=>this.#i(t.before,t.total,t.paths,e[n+1]?.before[n]))}
    </div>`}#i(e,t,n,s){let r=this.format,o=e.length,a=n.slice(0,Zn),l=t-a.reduce((d,{count:h})=>d+h,0),c=Math.max(l,...a.map(({count:d})=>d),1),p=n.length<=Zn&&!this.#e?.warnings;return u`<div>
      <h4><span>${r.text(this.direction==="next"?"after":"before",e.at(-1)??this.start??"")}</span><span class="number" title=${r.exact(t)}>${r.short(t)}</span></h4>
      <ol class="bars" part="list">
        ${a.map(({events:d,count:h})=>{let m=d[o];return u`<li><button class="row" part="row" aria-pressed=${m===s?"true":"false"} ${$("--share",`${h/c*100}%`)}
            @click=${()=>this.chosen=[...e,m]}>
            <span class="key"><bdi>${m}</bdi></span>
            <span class="count"><span class="share">${r.percent(h/t)}</span><span title=${r.exact(h)}>${r.short(h)}</span></span>
          </button></li>`})}
        ${l>0?u`<li><div class="row rest" ${$("--share",`${l/c*100}%`)}>
              <span class="key">${r.text(p?"nothing_more":"other")}</span>
              <span class="count"><span>${r.short(l)}</span></span>
            </div></li>`:f}
      </ol>
    </div>`}table(){let e=this.format;return{head:[...Array.from({length:this.depth},(t,n)=>String(n+1)),e.text("value"),e.text("share")],rows:(this.#e?.paths??[]).map(({events:t,count:n,share:s})=>[...Array.from({length:this.depth},(r,o)=>t[o]??""),n,s])}}};function ei(i){return i.target.value}var it=8,rs=8,os=6,st=class extends v{static{this.properties={interval:{},cohortEvent:{attribute:"cohort-event"},returnEvent:{attribute:"return-event"}}}static{this.styles=[...v.styles,b`
      .block {
        height: 300px;
      }
      .scroll {
        overflow-x: auto;
        margin: 0 -4px;
        padding: 0 4px 2px;
      }
      table {
        width: 100%;
        border-collapse: separate;
        border-spacing: 3px;
        font-variant-numeric: tabular-nums;
        font-size: 13px;
      }
      th {
        font-weight: 500;
        color: var(--_muted);
        text-align: center;
        white-space: nowrap;
        padding: 4px 6px;
      }
      th[scope="row"],
      th:first-child {
        text-align: start;
        padding-inline-start: 0;
      }
      th[scope="row"] {
        color: var(--_text);
      }
      td {
        min-width: 46px;
        height: 32px;
        padding: 0 6px;
        border-radius: 6px;
        text-align: center;
      }
      td.cell {
        background: color-mix(in oklab, var(--_accent) var(--level), var(--_sheet));
      }
      td.full {
        color: var(--_accent-contrast);
      }
      td.size {
        color: var(--_muted);
      }
      /* The first periods tell most: where there is no room for all, the later ones go. */
      @container (max-width: 560px) {
        tr > :nth-child(n + 10) {
          display: none;
        }
      }
      @container (max-width: 470px) {
        tr > :nth-child(n + 8) {
          display: none;
        }
      }
      @container (max-width: 380px) {
        tr > :nth-child(n + 6) {
          display: none;
        }
      }
      @container (max-width: 310px) {
        tr > :nth-child(n + 5) {
          display: none;
        }
      }
    `]}constructor(){super(),this.interval="week"}asksBy(){return["interval","cohortEvent","returnEvent"]}questions(e){let{to:t}=e.range,n=this.interval==="month"?L(t,1-it):A(t,(this.interval==="week"?-7:-1)*(it-1)),s=n<e.range.from?n:e.range.from,r={...this.cohortEvent?{cohortEvent:this.cohortEvent}:{},...this.returnEvent?{returnEvent:this.returnEvent}:{}};return{retention:{endpoint:"retention",interval:this.interval,periods:it,from:s,...r}}}defaultHeading(){return this.format.text("retention")}isEmpty(){return this.#e.length===0}get#e(){return this.answer("retention").cohorts.slice(-12)}content(){let e=this.format,t=Math.max(.01,...this.#e.flatMap(({periods:s})=>s.slice(1).map(({share:r})=>r))),n=Math.max(...this.#e.map(({periods:s})=>s.length));return u`<div class="scroll" tabindex="0" role="group" aria-label=${this.heading??this.defaultHeading()}>
      <table part="table">
        <thead><tr>
          <th scope="col">${e.text("cohort")}</th><th scope="col">${e.text("size")}</th>
          ${Array.from({length:n},(s,r)=>u`<th scope="col">${r}</th>`)}
        </tr></thead>
        <tbody>${this.#e.map(s=>u`<tr>
          <th scope="row">${e.tick(new Date(s.cohort),this.interval)}</th>
          <td class="size">${e.short(s.size)}</td>
          ${s.periods.map(({period:r,share:o,count:a})=>{let l=r===0?100:Math.ceil(o/t*rs)*os;return u`<td class="cell ${r===0?"full":""}" title=${e.exact(a)} ${$("--level",`${l}%`)}>${e.percent(o)}</td>`})}
        </tr>`)}</tbody>
      </table>
    </div>`}table(){let e=this.format;return{head:[e.text("cohort"),e.text("size"),...Array.from({length:it+1},(t,n)=>String(n))],rows:this.#e.map(({cohort:t,size:n,periods:s})=>[t,n,...s.map(({count:r})=>r)])}}};var rt=class extends v{static{this.properties={order:{},limit:{type:Number},opened:{state:!0}}}static{this.styles=[...v.styles,b`
      .block {
        height: 330px;
      }
      ol {
        margin: 0;
        padding: 0;
        list-style: none;
      }
      .rows > li + li {
        border-block-start: 1px solid var(--_border);
      }
      .row {
        display: grid;
        grid-template-columns: minmax(0, 1fr) auto auto;
        gap: 4px 18px;
        width: 100%;
        min-height: 40px;
        align-items: center;
        padding: 0 6px;
        border: 0;
        background: none;
        text-align: start;
        cursor: pointer;
        font-variant-numeric: tabular-nums;
      }
      .row:hover {
        background: var(--_fill);
      }
      .events {
        padding: 2px 6px 12px 20px;
        font-size: 13px;
      }
      .events li {
        position: relative;
        display: flex;
        gap: 12px;
        justify-content: space-between;
        padding: 3px 0 3px 16px;
        border-inline-start: 2px solid var(--_border);
      }
      .events li::before {
        content: "";
        position: absolute;
        inset-inline-start: -5px;
        inset-block-start: 10px;
        width: 8px;
        height: 8px;
        border-radius: 50%;
        background: var(--_accent);
      }
      .what {
        min-width: 0;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
    `]}constructor(){super(),this.order="-start",this.limit=8}asksBy(){return["order","limit"]}willUpdate(e){super.willUpdate(e),e.has("opened")&&this.opened&&this.hasUpdated&&this.page.askAgain(this)}questions(e){let t={sessions:{endpoint:"sessions",order:this.order,limit:this.limit}};if(this.opened){let{sessionId:n,tenantId:s}=this.opened;t.events={endpoint:"timeline",sessionId:n,filter:se(e.filters,s),limit:100}}return t}defaultHeading(){return this.format.text("sessions")}get#e(){return this.answer("sessions").sessions}isEmpty(){return this.#e.length===0}content(){let e=this.format;return u`<ol class="rows" part="list">
      ${this.#e.map(t=>{let n=this.opened?.sessionId===t.sessionId&&this.opened.tenantId===t.tenantId;return u`<li>
          <button class="row" aria-expanded=${n} @click=${()=>this.opened=n?void 0:t}>
            <span class="what">${e.bucket(new Date(t.firstSeen),"hour")}</span>
            <span class="muted">${e.duration(t.durationSeconds)}</span>
            <span>${e.exact(t.eventCount)} <span class="muted">${e.text("events").toLocaleLowerCase(e.lang)}</span></span>
          </button>
          ${n?this.#t():f}
        </li>`})}
    </ol>`}#t(){let e=this.format,t=this.answers.events?.events;return t?u`<ol class="events">
      ${[...t].reverse().map(n=>u`<li>
        <span class="what">${n.eventType}${n.itemId?u` <span class="muted">${n.itemId}</span>`:f}</span>
        <span class="muted number">${e.clock(new Date(n.timestamp))}</span>
      </li>`)}
    </ol>`:u`<div class="events muted">${e.text("loading")} …</div>`}table(){let e=this.format;return{head:[e.text("sessions"),e.text("time"),`${e.text("medianSessionDurationSeconds")} (s)`,e.text("events")],rows:this.#e.map(t=>[t.sessionId,t.firstSeen,t.durationSeconds,t.eventCount])}}};var ot=class extends v{static{this.properties={session:{},user:{},tenant:{},limit:{type:Number},cursors:{state:!0},opened:{state:!0}}}#e="";static{this.styles=[...v.styles,Ve,b`
      .block {
        height: 420px;
      }
      ol {
        margin: 0 -8px;
        padding: 0;
        list-style: none;
      }
      h4 {
        margin: 0;
        padding: 14px 8px 4px;
        font-size: 12px;
        font-weight: 500;
        color: var(--_muted);
      }
      li:first-child h4 {
        padding-top: 0;
      }
      .event {
        cursor: pointer;
      }
      .event:hover,
      .event[aria-expanded="true"] {
        background: var(--_fill);
      }
      .more {
        padding: 8px 8px 14px;
        font-size: 13px;
      }
      dl {
        display: grid;
        grid-template-columns: minmax(80px, auto) minmax(0, 1fr);
        gap: 4px 16px;
        margin: 0 0 10px;
      }
      dt {
        color: var(--_muted);
      }
      dd {
        margin: 0;
        overflow-wrap: anywhere;
      }
      .links,
      footer {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
      }
      .links .button,
      footer .button {
        min-height: 30px;
      }
      footer {
        justify-content: space-between;
        margin-block-start: 12px;
      }
      .only {
        display: inline-flex;
        align-items: center;
        gap: 2px;
        max-width: 60%;
        margin-inline-start: auto;
        padding-inline-start: 10px;
        border-radius: 8px;
        background: color-mix(in oklab, var(--_accent) 12%, transparent);
      }
      .only span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
    `]}constructor(){super(),this.limit=12,this.cursors=[]}asksBy(){return["session","user","tenant","limit","cursors"]}willUpdate(e){this.hasUpdated&&(e.has("session")||e.has("user")||e.has("tenant"))&&(this.cursors=[],this.opened=void 0,this.page.askAgain(this)),super.willUpdate(e)}questions(e){let{from:t,to:n}=e.range,{session:s,user:r,limit:o}=this,a=se(e.filters,this.tenant),l=s?{sessionId:s}:r?{userId:r}:{after:`${A(t,-1)}T23:59:59.999`,before:A(n,1)},c={endpoint:"timeline",limit:o,filter:a,...l},p=JSON.stringify([c,e.tz]);p!==this.#e&&(this.cursors=[]),this.#e=p;let d=this.cursors.at(-1);return{timeline:d?{...c,cursor:d}:c}}defaultHeading(){return this.format.text("timeline")}get#t(){return this.answer("timeline")}isEmpty(){return this.#t.events.length===0&&this.cursors.length===0&&!this.session&&!this.user}actions(){let e=this.format,[t,n]=this.session?["session",this.session]:["user",this.user];return n?u`<span class="only"><span>${e.text(t)} <bdi>${n}</bdi></span>
      <button class="button icon quiet" aria-label=${e.text("all_events")} @click=${()=>this.#s({})}>${M("close")}</button>
    </span>`:f}content(){let e=this.format,{events:t,nextCursor:n}=this.#t,s="";return u`<ol part="list">
        ${t.map(r=>{let o=s;return s=e.bucket(new Date(r.timestamp),"day"),u`<li>
            ${s===o?f:u`<h4>${s}</h4>`}
            <button class="event" part="row" aria-expanded=${r.eventId===this.opened?"true":"false"}
              @click=${()=>this.opened=r.eventId===this.opened?void 0:r.eventId}>${Qe(e,r)}</button>
            ${r.eventId===this.opened?this.#n(r):f}
          </li>`})}
      </ol>
      ${n||this.cursors.length>0?u`<footer part="pages">
            <button class="button" ?disabled=${this.cursors.length===0} @click=${()=>this.#i(this.cursors.slice(0,-1))}>${e.text("newer")}</button>
            <button class="button" ?disabled=${!n} @click=${()=>n&&this.#i([...this.cursors,n])}>${e.text("older")}</button>
          </footer>`:f}`}#i(e){this.opened=void 0,this.cursors=e}#n(e){let t=this.format,{sessionId:n,userId:s,tenantId:r}=e;return u`<div class="more">
      <dl>
        ${s?u`<dt>${t.text("user")}</dt><dd><bdi>${s}</bdi></dd>`:f}
        ${Hn(e).map(([o,a])=>u`<dt><bdi>${o}</bdi></dt><dd><bdi>${a}</bdi></dd>`)}
      </dl>
      <div class="links">
        ${n&&!this.session?u`<button class="button" @click=${()=>this.#s({session:n,tenant:r})}>${t.text("whole_session")}</button>`:f}
        ${s&&s!==this.user?u`<button class="button" @click=${()=>this.#s({user:s,tenant:r})}>${t.text("all_of_user")}</button>`:f}
      </div>
    </div>`}#s({session:e,user:t,tenant:n}){this.session=e,this.user=t,this.tenant=n,this.updateComplete.then(()=>this.renderRoot.querySelector(".only button, .event")?.focus())}table(){let e=this.format;return{head:[e.text("time"),e.text("event_type"),e.text("item_id"),e.text("user"),e.text("session"),"metadata"],rows:this.#t.events.map(t=>[t.timestamp,t.eventType,t.itemId??"",t.userId??"",t.sessionId??"",t.metadataJson??""])}}};function at(i,e){return i==null||e==null?NaN:i<e?-1:i>e?1:i>=e?0:NaN}function as(i,e){return i==null||e==null?NaN:e<i?-1:e>i?1:e>=i?0:NaN}function ti(i){let e,t,n;i.length!==2?(e=at,t=(a,l)=>at(i(a),l),n=(a,l)=>i(a)-l):(e=i===at||i===as?i:ls,t=i,n=i);function s(a,l,c=0,p=a.length){if(c<p){if(e(l,l)!==0)return p;do{let d=c+p>>>1;t(a[d],l)<0?c=d+1:p=d}while(c<p)}return c}function r(a,l,c=0,p=a.length){if(c<p){if(e(l,l)!==0)return p;do{let d=c+p>>>1;t(a[d],l)<=0?c=d+1:p=d}while(c<p)}return c}function o(a,l,c=0,p=a.length){let d=s(a,l,c,p-1);return d>c&&n(a[d-1],l)>-n(a[d],l)?d-1:d}return{left:s,center:o,right:r}}function ls(){return 0}function cs(i){return i===null?NaN:+i}var ni=ti(at),ya=ni.right,_a=ni.left,va=ti(cs).center;var ba=ii(si),xa=ii(ds);function ii(i){return function(e,t,n=t){if(!((t=+t)>=0))throw new RangeError("invalid rx");if(!((n=+n)>=0))throw new RangeError("invalid ry");let{data:s,width:r,height:o}=e;if(!((r=Math.floor(r))>=0))throw new RangeError("invalid width");if(!((o=Math.floor(o!==void 0?o:s.length/r))>=0))throw new RangeError("invalid height");if(!r||!o||!t&&!n)return e;let a=t&&i(t),l=n&&i(n),c=s.slice();return a&&l?(le(a,c,s,r,o),le(a,s,c,r,o),le(a,c,s,r,o),ce(l,s,c,r,o),ce(l,c,s,r,o),ce(l,s,c,r,o)):a?(le(a,s,c,r,o),le(a,c,s,r,o),le(a,s,c,r,o)):l&&(ce(l,s,c,r,o),ce(l,c,s,r,o),ce(l,s,c,r,o)),e}}function le(i,e,t,n,s){for(let r=0,o=n*s;r<o;)i(e,t,r,r+=n,1)}function ce(i,e,t,n,s){for(let r=0,o=n*s;r<n;++r)i(e,t,r,r+o,n)}function ds(i){let e=si(i);return(t,n,s,r,o)=>{s<<=2,r<<=2,o<<=2,e(t,n,s+0,r+0,o),e(t,n,s+1,r+1,o),e(t,n,s+2,r+2,o),e(t,n,s+3,r+3,o)}}function si(i){let e=Math.floor(i);if(e===i)return hs(i);let t=i-e,n=2*i+1;return(s,r,o,a,l)=>{if(!((a-=l)>=o))return;let c=e*r[o],p=l*e,d=p+l;for(let h=o,m=o+p;h<m;h+=l)c+=r[Math.min(a,h)];for(let h=o,m=a;h<=m;h+=l)c+=r[Math.min(a,h+p)],s[h]=(c+t*(r[Math.max(o,h-d)]+r[Math.min(a,h+d)]))/n,c-=r[Math.max(o,h-p)]}}function hs(i){let e=2*i+1;return(t,n,s,r,o)=>{if(!((r-=o)>=s))return;let a=i*n[s],l=o*i;for(let c=s,p=s+l;c<p;c+=o)a+=n[Math.min(r,c)];for(let c=s,p=r;c<=p;c+=o)a+=n[Math.min(r,c+l)],t[c]=a/e,a-=n[Math.max(s,c-l)]}}var us=Array.prototype,wa=us.slice;var ps=Math.sqrt(50),fs=Math.sqrt(10),ms=Math.sqrt(2);function lt(i,e,t){let n=(e-i)/Math.max(0,t),s=Math.floor(Math.log10(n)),r=n/Math.pow(10,s),o=r>=ps?10:r>=fs?5:r>=ms?2:1,a,l,c;return s<0?(c=Math.pow(10,-s)/o,a=Math.round(i*c),l=Math.round(e*c),a/c<i&&++a,l/c>e&&--l,c=-c):(c=Math.pow(10,s)*o,a=Math.round(i/c),l=Math.round(e/c),a*c<i&&++a,l*c>e&&--l),l<a&&.5<=t&&t<2?lt(i,e,t*2):[a,l,c]}function ri(i,e,t){if(e=+e,i=+i,t=+t,!(t>0))return[];if(i===e)return[i];let n=e<i,[s,r,o]=n?lt(e,i,t):lt(i,e,t);if(!(r>=s))return[];let a=r-s+1,l=new Array(a);if(n)if(o<0)for(let c=0;c<a;++c)l[c]=(r-c)/-o;else for(let c=0;c<a;++c)l[c]=(r-c)*o;else if(o<0)for(let c=0;c<a;++c)l[c]=(s+c)/-o;else for(let c=0;c<a;++c)l[c]=(s+c)*o;return l}function gs(i,e,t){return e=+e,i=+i,t=+t,lt(i,e,t)[2]}function oi(i,e,t){let n;for(;;){let s=gs(i,e,t);if(s===n||s===0||!isFinite(s))return[i,e];if(s>0){let r=Math.ceil(i/s),o=Math.floor(e/s);i=(r-(r*s>i))*s,e=(o+(o*s<e))*s}else if(s<0){let r=-s,o=Math.ceil(i*r),a=Math.floor(e*r);i=(o-(o/r>i))/r,e=(a+(a/r<e))/r}n=s}}var $a=ys(Math.random);function ys(i){return function(t,n=0,s=t.length){let r=s-(n=+n);for(;r;){let o=i()*r--|0,a=t[r+n];t[r+n]=t[o+n],t[o+n]=a}return t}}var q=280,C={top:10,bottom:26,side:2},zt=8,dt=class extends v{static{this.properties={measure:{},groupBy:{attribute:"group-by"},kind:{},width:{state:!0},hovered:{state:!0}}}#e;static{this.styles=[...v.styles,b`
      .chart {
        position: relative;
        height: ${q}px;
        touch-action: pan-y;
      }
      .block {
        height: ${q}px;
      }
      svg {
        display: block;
        width: 100%;
        height: ${q}px;
        overflow: visible;
      }
      svg {
        direction: ltr;
      }
      text {
        unicode-bidi: plaintext;
      }
      .grid line {
        stroke: var(--_border);
      }
      text {
        fill: var(--_muted);
        font-size: 12px;
        font-variant-numeric: tabular-nums;
      }
      .ylabel {
        paint-order: stroke;
        stroke: var(--_sheet);
        stroke-width: 3px;
        stroke-opacity: 0.75;
      }
      .line {
        fill: none;
        stroke: var(--c);
        stroke-width: 2;
        stroke-linejoin: round;
        stroke-linecap: round;
      }
      .line.partial {
        stroke-dasharray: 1 5;
      }
      .previous {
        fill: none;
        stroke: var(--_muted);
        stroke-width: 1.5;
        stroke-dasharray: 4 4;
        opacity: 0.75;
      }
      .area {
        fill: var(--c);
        opacity: 0.08;
      }
      .stacked {
        fill: var(--c);
        opacity: 0.85;
      }
      .bar {
        fill: var(--c);
      }
      .cross {
        stroke: color-mix(in oklab, var(--_text) 35%, transparent);
      }
      .dot {
        fill: var(--c);
        stroke: var(--_sheet);
        stroke-width: 2;
      }
      .tip {
        position: absolute;
        z-index: 5;
        inset-block-start: 4px;
        max-width: min(260px, 70%);
        padding: 8px 10px;
        border: 1px solid var(--_border);
        border-radius: 10px;
        background: var(--_sheet);
        box-shadow: 0 6px 20px rgb(0 0 0 / 12%);
        font-size: 13px;
        pointer-events: none;
        left: var(--x);
        transform: translateX(var(--shift));
      }
      .tip b {
        font-weight: 600;
      }
      .tip div {
        display: flex;
        gap: 10px;
        justify-content: space-between;
        white-space: nowrap;
      }
      .name {
        overflow: hidden;
        text-overflow: ellipsis;
        min-width: 0;
      }
      .legend {
        display: flex;
        flex-wrap: wrap;
        gap: 4px 14px;
        margin: 10px 0 0;
        padding: 0;
        list-style: none;
        font-size: 13px;
      }
      .key {
        display: inline-block;
        width: 9px;
        height: 9px;
        margin-inline-end: 6px;
        border-radius: 3px;
        background: var(--c);
      }
    `]}constructor(){super(),this.measure="events",this.kind="area",this.width=0}asksBy(){return["measure","groupBy"]}questions(e){let t=e.comparedRange,n={now:this.#t(e)};return t&&!this.groupBy&&(n.previous={...this.#t(e),from:t.from,to:t.to}),n}#t(e){let{interval:t}=e;return this.measure!=="events"?{endpoint:"active",interval:t==="hour"?"day":t,by:this.measure==="users"?"user":"session"}:{endpoint:"timeseries",interval:t,fill:!0,...this.groupBy?{groupBy:this.groupBy}:{}}}defaultHeading(){return this.format.text(this.measure)}isEmpty(){return!this.answer("now").points.some(e=>ct(e)>0)}firstUpdated(e){super.firstUpdated(e),this.#e=new ResizeObserver(([t])=>this.width=t?.contentRect.width??0),this.#e.observe(this.renderRoot.querySelector(".body"))}disconnectedCallback(){super.disconnectedCallback(),this.#e?.disconnect()}get#i(){let e=Re(this.page.range);return this.measure!=="events"&&e==="hour"?"day":e}get#n(){let{points:e}=this.answer("now"),t=[...new Set(e.map(l=>l.bucket))].sort((l,c)=>Date.parse(l)-Date.parse(c)),n=new Map(t.map((l,c)=>[l,c])),s=this.groupBy?_s(e):[this.format.text(this.measure)],r=this.format.text("other"),o=new Map(s.map(l=>[l,new Array(t.length).fill(0)]));for(let l of e){let c=this.groupBy?l.series??"\u2013":s[0],p=o.get(c)??vs(o,r,t.length),d=n.get(l.bucket);p[d]=(p[d]??0)+ct(l)}let a=e.at(-1);return{starts:t.map(l=>new Date(l)),series:[...o].map(([l,c])=>({name:l,values:c})),partial:a?.partial??(this.page.range.to>=this.page.today&&t.length>1)}}get#s(){if(!(this.groupBy||!this.page.comparedRange))return this.answers.previous?.points.map(ct)}table(){let e=this.format,{starts:t,series:n}=this.#n,s=this.#s;return{head:[e.text("time"),...n.map(({name:r})=>r),...s?[e.text("previous")]:[]],rows:t.map((r,o)=>[e.bucket(r,this.#i),...n.map(({values:a})=>a[o]??0),...s?[s[o]??""]:[]])}}content(){let{starts:e,series:t,partial:n}=this.#n,s=this.groupBy!==void 0&&this.kind!=="line";return u`<div class="chart" part="chart" role="group" tabindex="0" aria-label=${this.#p(e,t)}
        @pointermove=${this.#y} @pointerleave=${()=>this.hovered=void 0}
        @keydown=${this.#h} @blur=${()=>this.hovered=void 0}>
        ${this.width?this.#r(e,t,s,n):f}
        ${this.width&&this.hovered!==void 0?this.#c(e,t):f}
      </div>
      ${t.length>1?this.#d(t):f}
      ${this.hiddenTable()}
      <div class="sr" aria-live="polite">${this.hovered===void 0?f:this.#m(e,t)}</div>`}#r(e,t,n,s){let r=this.format,o=e.length,a=y=>this.#l(y,o),l=qn().keys(t.map(({name:y})=>y)).value((y,w)=>t.find(T=>T.name===w)?.values[y]??0)(e.map((y,w)=>w)),c=this.#s,p=n?l.at(-1)?.map(y=>y[1])??[]:t.flatMap(({values:y})=>y),[,d]=oi(0,Math.max(1,...p,...c??[]),4),h=y=>q-C.bottom-y/d*(q-C.bottom-C.top),m=ri(0,d,4).filter(y=>y>0&&Number.isInteger(y)),g=s?o-1:o,_=o>1?a(1)-a(0):this.width;return k`<svg viewBox="0 0 ${this.width} ${q}" aria-hidden="true">
      <g class="grid">${[0,...m].map(y=>k`<line x1="0" x2=${this.width} y1=${h(y)} y2=${h(y)}/>`)}</g>
      ${this.kind==="bars"?l.map((y,w)=>y.map((T,E)=>k`<rect class="bar" ${$("--c",H(w))}
              x=${a(E)-_*.36} width=${Math.max(1,_*.72)} y=${h(T[1])} height=${Math.max(0,h(T[0])-h(T[1]))} rx=${Math.min(3,_/6)}/>`)):n?l.map((y,w)=>k`<path class="stacked" ${$("--c",H(w))}
                d=${Rt((T,E)=>a(E),T=>h(T[0]),T=>h(T[1]))(y)}/>`):[c?k`<path class="previous" d=${X((y,w)=>a(w),h)(c.slice(0,o))}/>`:f,...t.map(({values:y},w)=>k`
                  ${this.kind==="area"&&t.length===1?k`<path class="area" ${$("--c",H(w))} d=${Rt((T,E)=>a(E),h(0),h)(y)}/>`:f}
                  <path class="line" ${$("--c",H(w))} d=${X((T,E)=>a(E),h)(y.slice(0,g))}/>
                  ${g<o?k`<path class="line partial" ${$("--c",H(w))} d=${X((T,E)=>a(E+g-1),h)(y.slice(g-1))}/>`:f}`)]}
      ${this.hovered===void 0?f:this.#o(a(this.hovered),h,t,n)}
      ${m.map(y=>k`<text class="ylabel" x="0" y=${h(y)-5}>${r.short(y)}</text>`)}
      ${this.#a(e).map(({i:y,text:w,anchor:T})=>k`<text x=${a(y)} y=${q-6} text-anchor=${T}>${w}</text>`)}
    </svg>`}#o(e,t,n,s){let r=this.hovered;return k`<line class="cross" x1=${e} x2=${e} y1=${C.top} y2=${q-C.bottom}/>
      ${s||this.kind==="bars"?f:n.map(({values:o},a)=>k`<circle class="dot" ${$("--c",H(a))} cx=${e} cy=${t(o[r]??0)} r="4.5"/>`)}`}#l(e,t){let n=this.width-2*C.side;return this.kind==="bars"?C.side+(e+.5)*n/t:C.side+(t>1?e*n/(t-1):n/2)}#a(e){let t=this.format,n=e.map(o=>t.tick(o,this.#i)),s=Math.max(...n.map(o=>o.length))*7+24,r=Math.max(1,Math.ceil(e.length*s/Math.max(1,this.width)));return n.map((o,a)=>({i:a,text:o,anchor:"middle"})).filter(({i:o})=>o%r===0).map(o=>{let a=this.#l(o.i,e.length),l=a<s/2-8?"start":a>this.width-s/2+8?"end":"middle";return{...o,anchor:l}})}#c(e,t){let n=this.format,s=this.hovered,r=this.#l(s,e.length),o=this.#s?.[s],a=t.length===1?t[0]?.values[s]:void 0,l=a!==void 0&&o!==void 0?n.change(a,o):void 0,c=[...t].map((p,d)=>({...p,s:d,value:p.values[s]??0})).sort((p,d)=>d.value-p.value);return u`<div class="tip" aria-hidden="true" ${$("--x",`${r}px`)} ${$("--shift",r>this.width/2?"calc(-100% - 12px)":"12px")}>
      <div class="muted">${n.bucket(e[s],this.#i)}</div>
      ${c.map(({name:p,value:d,s:h})=>u`<div><span class="name" dir="auto">${t.length>1?u`<span class="key" ${$("--c",H(h))}></span>`:f}${p}</span><b class="number">${n.exact(d)}</b></div>`)}
      ${o===void 0?f:u`<div class="muted"><span>${n.text("previous")}</span><span class="number">${n.exact(o)}</span></div>`}
      ${l?u`<div>${Ut(n,l,l.sign>0?"up":"down")}</div>`:f}
    </div>`}#d(e){return u`<ul class="legend" part="legend">
      ${e.map(({name:t},n)=>u`<li><span class="key" ${$("--c",H(n))}></span>${t}</li>`)}
    </ul>`}#p(e,t){let n=this.format,s=e.map((g,_)=>t.reduce((y,{values:w})=>y+(w[_]??0),0)),r=s.indexOf(Math.max(...s)),{from:o,to:a}=this.page.range,l=s.reduce((g,_)=>g+_,0),c=this.#s?.reduce((g,_)=>g+_,0),p=this.measure==="events"?n.change(l,c):void 0,d=p?.text&&p.sign?`, ${n.text(p.sign>0?"up":"down",p.text)}`:"",h=this.measure==="events"?n.exact(l)+d:n.exact(Math.max(...s));return`${n.text("chart_summary",this.heading??this.defaultHeading(),n.days(o,a),h)} ${n.text("chart_peak",n.bucket(e[r],this.#i),n.exact(s[r]??0))}`}#m(e,t){let n=this.hovered,s=this.format,r=t.map(({name:o,values:a})=>`${o} ${s.exact(a[n]??0)}`);return`${s.bucket(e[n],this.#i)}: ${r.join(", ")}`}#y=e=>{let t=e.currentTarget.getBoundingClientRect(),{starts:n}=this.#n,s=n.length,r=e.clientX-t.left-C.side,o=this.width-2*C.side,a=this.kind==="bars"?Math.floor(r/o*s):Math.round(r/o*(s-1));this.hovered=Math.min(s-1,Math.max(0,a))};#h=e=>{let t=this.#n.starts.length-1,n=this.hovered??(e.key==="ArrowLeft"?t+1:-1),r={ArrowRight:n+1,ArrowLeft:n-1,Home:0,End:t}[e.key];if(r===void 0){e.key==="Escape"&&(this.hovered=void 0);return}e.preventDefault(),this.hovered=Math.min(t,Math.max(0,r))}};function ct(i){return i.count??i.activeCount??0}function H(i){return`var(--_s${i%zt+1})`}function _s(i){let e=new Map;for(let n of i){let s=n.series??"\u2013";e.set(s,(e.get(s)??0)+ct(n))}let t=[...e].sort((n,s)=>s[1]-n[1]).map(([n])=>n);return t.length>zt?t.slice(0,zt-1):t}function vs(i,e,t){let n=i.get(e)??new Array(t).fill(0);return i.set(e,n),n}var bs={"nealytics-dashboard":Ge,"nealytics-figures":je,"nealytics-timeseries":dt,"nealytics-top":re,"nealytics-properties":J,"nealytics-funnel":Ke,"nealytics-retention":st,"nealytics-sessions":rt,"nealytics-paths":nt,"nealytics-active":Ye,"nealytics-timeline":ot,"nealytics-live":tt,"nealytics-heatmap":Xe};if(typeof customElements<"u")for(let[i,e]of Object.entries(bs))customElements.get(i)||customElements.define(i,e);export{Ye as NealyticsActive,Ge as NealyticsDashboard,je as NealyticsFigures,Ke as NealyticsFunnel,Xe as NealyticsHeatmap,tt as NealyticsLive,nt as NealyticsPaths,J as NealyticsProperties,st as NealyticsRetention,rt as NealyticsSessions,ot as NealyticsTimeline,dt as NealyticsTimeseries,re as NealyticsTop};
