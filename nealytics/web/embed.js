/* Nealytics, MIT. Contains Lit (BSD-3-Clause) and d3-array, d3-path, d3-shape (ISC). */
var pt=globalThis,ft=pt.ShadowRoot&&(pt.ShadyCSS===void 0||pt.ShadyCSS.nativeShadow)&&"adoptedStyleSheets"in Document.prototype&&"replace"in CSSStyleSheet.prototype,Ut=Symbol(),fe=new WeakMap,nt=class{constructor(t,e,i){if(this._$cssResult$=!0,i!==Ut)throw Error("CSSResult is not constructable. Use `unsafeCSS` or `css` instead.");this.cssText=t,this.t=e}get styleSheet(){let t=this.o,e=this.t;if(ft&&t===void 0){let i=e!==void 0&&e.length===1;i&&(t=fe.get(e)),t===void 0&&((this.o=t=new CSSStyleSheet).replaceSync(this.cssText),i&&fe.set(e,t))}return t}toString(){return this.cssText}},me=n=>new nt(typeof n=="string"?n:n+"",void 0,Ut),k=(n,...t)=>{let e=n.length===1?n[0]:t.reduce((i,r,s)=>i+(o=>{if(o._$cssResult$===!0)return o.cssText;if(typeof o=="number")return o;throw Error("Value passed to 'css' function must be a 'css' function result: "+o+". Use 'unsafeCSS' to pass non-literal values, but take care to ensure page security.")})(r)+n[s+1],n[0]);return new nt(e,n,Ut)},ge=(n,t)=>{if(ft)n.adoptedStyleSheets=t.map(e=>e instanceof CSSStyleSheet?e:e.styleSheet);else for(let e of t){let i=document.createElement("style"),r=pt.litNonce;r!==void 0&&i.setAttribute("nonce",r),i.textContent=e.cssText,n.appendChild(i)}},zt=ft?n=>n:n=>n instanceof CSSStyleSheet?(t=>{let e="";for(let i of t.cssRules)e+=i.cssText;return me(e)})(n):n;var{is:_n,defineProperty:yn,getOwnPropertyDescriptor:vn,getOwnPropertyNames:xn,getOwnPropertySymbols:bn,getPrototypeOf:wn}=Object,mt=globalThis,_e=mt.trustedTypes,$n=_e?_e.emptyScript:"",kn=mt.reactiveElementPolyfillSupport,it=(n,t)=>n,Lt={toAttribute(n,t){switch(t){case Boolean:n=n?$n:null;break;case Object:case Array:n=n==null?n:JSON.stringify(n)}return n},fromAttribute(n,t){let e=n;switch(t){case Boolean:e=n!==null;break;case Number:e=n===null?null:Number(n);break;case Object:case Array:try{e=JSON.parse(n)}catch{e=null}}return e}},ve=(n,t)=>!_n(n,t),ye={attribute:!0,type:String,converter:Lt,reflect:!1,useDefault:!1,hasChanged:ve};Symbol.metadata??=Symbol("metadata"),mt.litPropertyMetadata??=new WeakMap;var C=class extends HTMLElement{static addInitializer(t){this._$Ei(),(this.l??=[]).push(t)}static get observedAttributes(){return this.finalize(),this._$Eh&&[...this._$Eh.keys()]}static createProperty(t,e=ye){if(e.state&&(e.attribute=!1),this._$Ei(),this.prototype.hasOwnProperty(t)&&((e=Object.create(e)).wrapped=!0),this.elementProperties.set(t,e),!e.noAccessor){let i=Symbol(),r=this.getPropertyDescriptor(t,i,e);r!==void 0&&yn(this.prototype,t,r)}}static getPropertyDescriptor(t,e,i){let{get:r,set:s}=vn(this.prototype,t)??{get(){return this[e]},set(o){this[e]=o}};return{get:r,set(o){let a=r?.call(this);s?.call(this,o),this.requestUpdate(t,a,i)},configurable:!0,enumerable:!0}}static getPropertyOptions(t){return this.elementProperties.get(t)??ye}static _$Ei(){if(this.hasOwnProperty(it("elementProperties")))return;let t=wn(this);t.finalize(),t.l!==void 0&&(this.l=[...t.l]),this.elementProperties=new Map(t.elementProperties)}static finalize(){if(this.hasOwnProperty(it("finalized")))return;if(this.finalized=!0,this._$Ei(),this.hasOwnProperty(it("properties"))){let e=this.properties,i=[...xn(e),...bn(e)];for(let r of i)this.createProperty(r,e[r])}let t=this[Symbol.metadata];if(t!==null){let e=litPropertyMetadata.get(t);if(e!==void 0)for(let[i,r]of e)this.elementProperties.set(i,r)}this._$Eh=new Map;for(let[e,i]of this.elementProperties){let r=this._$Eu(e,i);r!==void 0&&this._$Eh.set(r,e)}this.elementStyles=this.finalizeStyles(this.styles)}static finalizeStyles(t){let e=[];if(Array.isArray(t)){let i=new Set(t.flat(1/0).reverse());for(let r of i)e.unshift(zt(r))}else t!==void 0&&e.push(zt(t));return e}static _$Eu(t,e){let i=e.attribute;return i===!1?void 0:typeof i=="string"?i:typeof t=="string"?t.toLowerCase():void 0}constructor(){super(),this._$Ep=void 0,this.isUpdatePending=!1,this.hasUpdated=!1,this._$Em=null,this._$Ev()}_$Ev(){this._$ES=new Promise(t=>this.enableUpdating=t),this._$AL=new Map,this._$E_(),this.requestUpdate(),this.constructor.l?.forEach(t=>t(this))}addController(t){(this._$EO??=new Set).add(t),this.renderRoot!==void 0&&this.isConnected&&t.hostConnected?.()}removeController(t){this._$EO?.delete(t)}_$E_(){let t=new Map,e=this.constructor.elementProperties;for(let i of e.keys())this.hasOwnProperty(i)&&(t.set(i,this[i]),delete this[i]);t.size>0&&(this._$Ep=t)}createRenderRoot(){let t=this.shadowRoot??this.attachShadow(this.constructor.shadowRootOptions);return ge(t,this.constructor.elementStyles),t}connectedCallback(){this.renderRoot??=this.createRenderRoot(),this.enableUpdating(!0),this._$EO?.forEach(t=>t.hostConnected?.())}enableUpdating(t){}disconnectedCallback(){this._$EO?.forEach(t=>t.hostDisconnected?.())}attributeChangedCallback(t,e,i){this._$AK(t,i)}_$ET(t,e){let i=this.constructor.elementProperties.get(t),r=this.constructor._$Eu(t,i);if(r!==void 0&&i.reflect===!0){let s=(i.converter?.toAttribute!==void 0?i.converter:Lt).toAttribute(e,i.type);this._$Em=t,s==null?this.removeAttribute(r):this.setAttribute(r,s),this._$Em=null}}_$AK(t,e){let i=this.constructor,r=i._$Eh.get(t);if(r!==void 0&&this._$Em!==r){let s=i.getPropertyOptions(r),o=typeof s.converter=="function"?{fromAttribute:s.converter}:s.converter?.fromAttribute!==void 0?s.converter:Lt;this._$Em=r;let a=o.fromAttribute(e,s.type);this[r]=a??this._$Ej?.get(r)??a,this._$Em=null}}requestUpdate(t,e,i,r=!1,s){if(t!==void 0){let o=this.constructor;if(r===!1&&(s=this[t]),i??=o.getPropertyOptions(t),!((i.hasChanged??ve)(s,e)||i.useDefault&&i.reflect&&s===this._$Ej?.get(t)&&!this.hasAttribute(o._$Eu(t,i))))return;this.C(t,e,i)}this.isUpdatePending===!1&&(this._$ES=this._$EP())}C(t,e,{useDefault:i,reflect:r,wrapped:s},o){i&&!(this._$Ej??=new Map).has(t)&&(this._$Ej.set(t,o??e??this[t]),s!==!0||o!==void 0)||(this._$AL.has(t)||(this.hasUpdated||i||(e=void 0),this._$AL.set(t,e)),r===!0&&this._$Em!==t&&(this._$Eq??=new Set).add(t))}async _$EP(){this.isUpdatePending=!0;try{await this._$ES}catch(e){Promise.reject(e)}let t=this.scheduleUpdate();return t!=null&&await t,!this.isUpdatePending}scheduleUpdate(){return this.performUpdate()}performUpdate(){if(!this.isUpdatePending)return;if(!this.hasUpdated){if(this.renderRoot??=this.createRenderRoot(),this._$Ep){for(let[r,s]of this._$Ep)this[r]=s;this._$Ep=void 0}let i=this.constructor.elementProperties;if(i.size>0)for(let[r,s]of i){let{wrapped:o}=s,a=this[r];o!==!0||this._$AL.has(r)||a===void 0||this.C(r,void 0,s,a)}}let t=!1,e=this._$AL;try{t=this.shouldUpdate(e),t?(this.willUpdate(e),this._$EO?.forEach(i=>i.hostUpdate?.()),this.update(e)):this._$EM()}catch(i){throw t=!1,this._$EM(),i}t&&this._$AE(e)}willUpdate(t){}_$AE(t){this._$EO?.forEach(e=>e.hostUpdated?.()),this.hasUpdated||(this.hasUpdated=!0,this.firstUpdated(t)),this.updated(t)}_$EM(){this._$AL=new Map,this.isUpdatePending=!1}get updateComplete(){return this.getUpdateComplete()}getUpdateComplete(){return this._$ES}shouldUpdate(t){return!0}update(t){this._$Eq&&=this._$Eq.forEach(e=>this._$ET(e,this[e])),this._$EM()}updated(t){}firstUpdated(t){}};C.elementStyles=[],C.shadowRootOptions={mode:"open"},C[it("elementProperties")]=new Map,C[it("finalized")]=new Map,kn?.({ReactiveElement:C}),(mt.reactiveElementVersions??=[]).push("2.1.2");var Vt=globalThis,xe=n=>n,gt=Vt.trustedTypes,be=gt?gt.createPolicy("lit-html",{createHTML:n=>n}):void 0,Ee="$lit$",P=`lit$${Math.random().toFixed(9).slice(2)}$`,Se="?"+P,Tn=`<${Se}>`,H=document,st=()=>H.createComment(""),ot=n=>n===null||typeof n!="object"&&typeof n!="function",Kt=Array.isArray,An=n=>Kt(n)||typeof n?.[Symbol.iterator]=="function",qt=`[ 	
\f\r]`,rt=/<(?:(!--|\/[^a-zA-Z])|(\/?[a-zA-Z][^>\s]*)|(\/?$))/g,we=/-->/g,$e=/>/g,F=RegExp(`>|${qt}(?:([^\\s"'>=/]+)(${qt}*=${qt}*(?:[^ 	
\f\r"'\`<>=]|("|')|))|$)`,"g"),ke=/'/g,Te=/"/g,Me=/^(?:script|style|textarea|title)$/i,Gt=n=>(t,...e)=>({_$litType$:n,strings:t,values:e}),p=Gt(1),x=Gt(2),Ei=Gt(3),M=Symbol.for("lit-noChange"),f=Symbol.for("lit-nothing"),Ae=new WeakMap,B=H.createTreeWalker(H,129);function Re(n,t){if(!Kt(n)||!n.hasOwnProperty("raw"))throw Error("invalid template strings array");return be!==void 0?be.createHTML(t):t}var En=(n,t)=>{let e=n.length-1,i=[],r,s=t===2?"<svg>":t===3?"<math>":"",o=rt;for(let a=0;a<e;a++){let l=n[a],h,u,c=-1,d=0;for(;d<l.length&&(o.lastIndex=d,u=o.exec(l),u!==null);)d=o.lastIndex,o===rt?u[1]==="!--"?o=we:u[1]!==void 0?o=$e:u[2]!==void 0?(Me.test(u[2])&&(r=RegExp("</"+u[2],"g")),o=F):u[3]!==void 0&&(o=F):o===F?u[0]===">"?(o=r??rt,c=-1):u[1]===void 0?c=-2:(c=o.lastIndex-u[2].length,h=u[1],o=u[3]===void 0?F:u[3]==='"'?Te:ke):o===Te||o===ke?o=F:o===we||o===$e?o=rt:(o=F,r=void 0);let g=o===F&&n[a+1].startsWith("/>")?" ":"";s+=o===rt?l+Tn:c>=0?(i.push(h),l.slice(0,c)+Ee+l.slice(c)+P+g):l+P+(c===-2?a:g)}return[Re(n,s+(n[e]||"<?>")+(t===2?"</svg>":t===3?"</math>":"")),i]},at=class n{constructor({strings:t,_$litType$:e},i){let r;this.parts=[];let s=0,o=0,a=t.length-1,l=this.parts,[h,u]=En(t,e);if(this.el=n.createElement(h,i),B.currentNode=this.el.content,e===2||e===3){let c=this.el.content.firstChild;c.replaceWith(...c.childNodes)}for(;(r=B.nextNode())!==null&&l.length<a;){if(r.nodeType===1){if(r.hasAttributes())for(let c of r.getAttributeNames())if(c.endsWith(Ee)){let d=u[o++],g=r.getAttribute(c).split(P),_=/([.?@])?(.*)/.exec(d);l.push({type:1,index:s,name:_[2],strings:g,ctor:_[1]==="."?Bt:_[1]==="?"?Ht:_[1]==="@"?jt:G}),r.removeAttribute(c)}else c.startsWith(P)&&(l.push({type:6,index:s}),r.removeAttribute(c));if(Me.test(r.tagName)){let c=r.textContent.split(P),d=c.length-1;if(d>0){r.textContent=gt?gt.emptyScript:"";for(let g=0;g<d;g++)r.append(c[g],st()),B.nextNode(),l.push({type:2,index:++s});r.append(c[d],st())}}}else if(r.nodeType===8)if(r.data===Se)l.push({type:2,index:s});else{let c=-1;for(;(c=r.data.indexOf(P,c+1))!==-1;)l.push({type:7,index:s}),c+=P.length-1}s++}}static createElement(t,e){let i=H.createElement("template");return i.innerHTML=t,i}};function K(n,t,e=n,i){if(t===M)return t;let r=i!==void 0?e._$Co?.[i]:e._$Cl,s=ot(t)?void 0:t._$litDirective$;return r?.constructor!==s&&(r?._$AO?.(!1),s===void 0?r=void 0:(r=new s(n),r._$AT(n,e,i)),i!==void 0?(e._$Co??=[])[i]=r:e._$Cl=r),r!==void 0&&(t=K(n,r._$AS(n,t.values),r,i)),t}var Ft=class{constructor(t,e){this._$AV=[],this._$AN=void 0,this._$AD=t,this._$AM=e}get parentNode(){return this._$AM.parentNode}get _$AU(){return this._$AM._$AU}u(t){let{el:{content:e},parts:i}=this._$AD,r=(t?.creationScope??H).importNode(e,!0);B.currentNode=r;let s=B.nextNode(),o=0,a=0,l=i[0];for(;l!==void 0;){if(o===l.index){let h;l.type===2?h=new lt(s,s.nextSibling,this,t):l.type===1?h=new l.ctor(s,l.name,l.strings,this,t):l.type===6&&(h=new Qt(s,this,t)),this._$AV.push(h),l=i[++a]}o!==l?.index&&(s=B.nextNode(),o++)}return B.currentNode=H,r}p(t){let e=0;for(let i of this._$AV)i!==void 0&&(i.strings!==void 0?(i._$AI(t,i,e),e+=i.strings.length-2):i._$AI(t[e])),e++}},lt=class n{get _$AU(){return this._$AM?._$AU??this._$Cv}constructor(t,e,i,r){this.type=2,this._$AH=f,this._$AN=void 0,this._$AA=t,this._$AB=e,this._$AM=i,this.options=r,this._$Cv=r?.isConnected??!0}get parentNode(){let t=this._$AA.parentNode,e=this._$AM;return e!==void 0&&t?.nodeType===11&&(t=e.parentNode),t}get startNode(){return this._$AA}get endNode(){return this._$AB}_$AI(t,e=this){t=K(this,t,e),ot(t)?t===f||t==null||t===""?(this._$AH!==f&&this._$AR(),this._$AH=f):t!==this._$AH&&t!==M&&this._(t):t._$litType$!==void 0?this.$(t):t.nodeType!==void 0?this.T(t):An(t)?this.k(t):this._(t)}O(t){return this._$AA.parentNode.insertBefore(t,this._$AB)}T(t){this._$AH!==t&&(this._$AR(),this._$AH=this.O(t))}_(t){this._$AH!==f&&ot(this._$AH)?this._$AA.nextSibling.data=t:this.T(H.createTextNode(t)),this._$AH=t}$(t){let{values:e,_$litType$:i}=t,r=typeof i=="number"?this._$AC(t):(i.el===void 0&&(i.el=at.createElement(Re(i.h,i.h[0]),this.options)),i);if(this._$AH?._$AD===r)this._$AH.p(e);else{let s=new Ft(r,this),o=s.u(this.options);s.p(e),this.T(o),this._$AH=s}}_$AC(t){let e=Ae.get(t.strings);return e===void 0&&Ae.set(t.strings,e=new at(t)),e}k(t){Kt(this._$AH)||(this._$AH=[],this._$AR());let e=this._$AH,i,r=0;for(let s of t)r===e.length?e.push(i=new n(this.O(st()),this.O(st()),this,this.options)):i=e[r],i._$AI(s),r++;r<e.length&&(this._$AR(i&&i._$AB.nextSibling,r),e.length=r)}_$AR(t=this._$AA.nextSibling,e){for(this._$AP?.(!1,!0,e);t!==this._$AB;){let i=xe(t).nextSibling;xe(t).remove(),t=i}}setConnected(t){this._$AM===void 0&&(this._$Cv=t,this._$AP?.(t))}},G=class{get tagName(){return this.element.tagName}get _$AU(){return this._$AM._$AU}constructor(t,e,i,r,s){this.type=1,this._$AH=f,this._$AN=void 0,this.element=t,this.name=e,this._$AM=r,this.options=s,i.length>2||i[0]!==""||i[1]!==""?(this._$AH=Array(i.length-1).fill(new String),this.strings=i):this._$AH=f}_$AI(t,e=this,i,r){let s=this.strings,o=!1;if(s===void 0)t=K(this,t,e,0),o=!ot(t)||t!==this._$AH&&t!==M,o&&(this._$AH=t);else{let a=t,l,h;for(t=s[0],l=0;l<s.length-1;l++)h=K(this,a[i+l],e,l),h===M&&(h=this._$AH[l]),o||=!ot(h)||h!==this._$AH[l],h===f?t=f:t!==f&&(t+=(h??"")+s[l+1]),this._$AH[l]=h}o&&!r&&this.j(t)}j(t){t===f?this.element.removeAttribute(this.name):this.element.setAttribute(this.name,t??"")}},Bt=class extends G{constructor(){super(...arguments),this.type=3}j(t){this.element[this.name]=t===f?void 0:t}},Ht=class extends G{constructor(){super(...arguments),this.type=4}j(t){this.element.toggleAttribute(this.name,!!t&&t!==f)}},jt=class extends G{constructor(t,e,i,r,s){super(t,e,i,r,s),this.type=5}_$AI(t,e=this){if((t=K(this,t,e,0)??f)===M)return;let i=this._$AH,r=t===f&&i!==f||t.capture!==i.capture||t.once!==i.once||t.passive!==i.passive,s=t!==f&&(i===f||r);r&&this.element.removeEventListener(this.name,this,i),s&&this.element.addEventListener(this.name,this,t),this._$AH=t}handleEvent(t){typeof this._$AH=="function"?this._$AH.call(this.options?.host??this.element,t):this._$AH.handleEvent(t)}},Qt=class{constructor(t,e,i){this.element=t,this.type=6,this._$AN=void 0,this._$AM=e,this.options=i}get _$AU(){return this._$AM._$AU}_$AI(t){K(this,t)}};var Sn=Vt.litHtmlPolyfillSupport;Sn?.(at,lt),(Vt.litHtmlVersions??=[]).push("3.3.3");var Ce=(n,t,e)=>{let i=e?.renderBefore??t,r=i._$litPart$;if(r===void 0){let s=e?.renderBefore??null;i._$litPart$=r=new lt(t.insertBefore(st(),s),s,void 0,e??{})}return r._$AI(n),r};var Yt=globalThis,N=class extends C{constructor(){super(...arguments),this.renderOptions={host:this},this._$Do=void 0}createRenderRoot(){let t=super.createRenderRoot();return this.renderOptions.renderBefore??=t.firstChild,t}update(t){let e=this.render();this.hasUpdated||(this.renderOptions.isConnected=this.isConnected),super.update(t),this._$Do=Ce(e,this.renderRoot,this.renderOptions)}connectedCallback(){super.connectedCallback(),this._$Do?.setConnected(!0)}disconnectedCallback(){super.disconnectedCallback(),this._$Do?.setConnected(!1)}render(){return M}};N._$litElement$=!0,N.finalized=!0,Yt.litElementHydrateSupport?.({LitElement:N});var Mn=Yt.litElementPolyfillSupport;Mn?.({LitElement:N});(Yt.litElementVersions??=[]).push("4.2.2");var T=class extends Error{constructor(e,i,r=0,s=0){super(i);this.code=e;this.status=r;this.retryAfterS=s;this.name="QueryError"}get needsToken(){return this.status===401||this.code==="no_token"||this.code==="token_failed"}},Rn=6e4,_t=class{constructor(t,e){this.base=t;this.getToken=e}#t="";#e=0;#n;#i=0;forgetToken(){this.#t="",this.#n=void 0}async ask(t,e,i){let r=JSON.stringify({...t,queries:e}),s={"Content-Type":"application/json"},o=await this.fetch("api/v1/analytics/query",{method:"POST",body:r,headers:s,signal:i}),{results:a}=await o.json();return Object.fromEntries(Object.entries(a).map(([l,h])=>[l,h.error?Pe(h.error):h]))}async fetch(t,e){for(let i=!1;;i=!0){let r=await this.token(),s={...e.headers,Authorization:`Bearer ${r}`},o;try{o=await fetch(new URL(t,this.base),{...e,headers:s,credentials:"omit"})}catch(l){throw e.signal?.aborted?l:new T("offline",l instanceof Error?l.message:String(l))}let a=Date.parse(o.headers.get("Date")??"");if(a&&(this.#i=a-Date.now()),o.ok)return o;if(o.status===401&&this.#s(r),o.status!==401||i)throw await Pn(o)}}async token(){return this.#t&&Date.now()<this.#e?this.#t:(this.#n??=this.#r().finally(()=>this.#n=void 0),this.#n)}async#r(){if(!this.getToken)throw new T("no_token","set getToken: a function that gives a token for reading");let t;try{t=await this.getToken()}catch(r){throw new T("token_failed",`getToken failed: ${r instanceof Error?r.message:String(r)}`)}if(typeof t!="string"||t.split(".").length!==3)throw new T("token_failed","getToken did not give a token: three parts joined by dots");this.#t=t.trim();let e=Cn(this.#t).exp,i=typeof e=="number"?e*1e3-this.#i:Number.POSITIVE_INFINITY;return this.#e=i-Math.min(Rn,Math.max(0,(i-Date.now())/2)),this.#t}#s(t){this.#t===t&&(this.#t="")}};function Cn(n){try{let t=(n.split(".")[1]??"").replaceAll("-","+").replaceAll("_","/"),e=Uint8Array.from(atob(t),i=>i.charCodeAt(0));return JSON.parse(new TextDecoder().decode(e))}catch{return{}}}function Pe(n,t=200,e=0){let{code:i,message:r,detail:s}=n??{};return new T(i??"http",[r??`status ${t}`,s].filter(Boolean).join(". "),t,e)}async function Pn(n){let t=Number(n.headers.get("Retry-After"))||0,e=await n.json().catch(()=>{});return Pe(e,n.status,t)}var ht=["today","yesterday","7d","30d","90d","this_month","last_month"],ct=["none","previous","year"];function Wt(n,t){return new Intl.DateTimeFormat("sv-SE",{timeZone:n,dateStyle:"short"}).format(t)}function Y(n){return/^\d{4}-\d\d-\d\d$/.test(n)&&!Number.isNaN(Date.parse(n))&&S(n,0)===n}function S(n,t){return Oe(new Date(Date.parse(n)+t*864e5))}function D(n,t){let e=new Date(n),i=new Date(Date.UTC(e.getUTCFullYear(),e.getUTCMonth()+t,1)),r=new Date(Date.UTC(i.getUTCFullYear(),i.getUTCMonth()+1,0)).getUTCDate();return i.setUTCDate(Math.min(e.getUTCDate(),r)),Oe(i)}function Ne(n){return Math.round((Date.parse(n.to)-Date.parse(n.from))/864e5)+1}function O(n,t){let e=`${t.slice(0,8)}01`;switch(n){case"today":return{preset:n,from:t,to:t};case"yesterday":return{preset:n,from:S(t,-1),to:S(t,-1)};case"this_month":return{preset:n,from:e,to:t};case"last_month":return{preset:n,from:D(e,-1),to:S(e,-1)};default:return{preset:n,from:S(t,1-Number.parseInt(n,10)),to:t}}}function De(n,t){if(t!=="none"){if(t==="year")return{from:D(n.from,-12),to:D(n.to,-12)};if(n.from.endsWith("-01")&&S(n.to,1).endsWith("-01")){let e=Nn(n.from,S(n.to,1));return{from:D(n.from,-e),to:S(n.from,-1)}}return n.preset==="this_month"?{from:D(n.from,-1),to:D(n.to,-1)}:{from:S(n.from,-Ne(n)),to:S(n.from,-1)}}}function yt(n){let t=Ne(n);return t<=2?"hour":t<=92?"day":t<=731?"week":"month"}function Nn(n,t){let[e,i]=[new Date(n),new Date(t)];return(i.getUTCFullYear()-e.getUTCFullYear())*12+i.getUTCMonth()-e.getUTCMonth()}function Oe(n){return n.toISOString().slice(0,10)}var W={today:"Today",yesterday:"Yesterday","7d":"Last 7 days","30d":"Last 30 days","90d":"Last 90 days",this_month:"This month",last_month:"Last month",custom:"Custom range",from:"From",to:"To",apply:"Apply",compare:"Compare",compare_none:"No comparison",compare_previous:"Previous period",compare_year:"Previous year",events:"Events",sessions:"Sessions",users:"Users",eventsPerSession:"Events per session",medianSessionDurationSeconds:"Median visit",bounceShare:"Bounce rate",event_type:"Event types",item_id:"Pages and items",user_id:"Users",tenant_id:"Tenants",session_id:"Sessions",other:"Other",total:"Total",share:"Share",value:"Value",time:"Time",change:"Change",previous:"Previous",funnel:"Funnel",retention:"Retention",cohort:"First seen",size:"People",median_time:"median",filter:"Filter",remove_filter:"Remove filter",download_csv:"Download CSV",download_all:"Download all events",copy_link:"Copy link",print:"Print",more:"More",loading:"Loading",empty:"No data in this period",empty_hint:"Choose a longer period or remove a filter.",error:"This chart could not be loaded",offline:"You seem to be offline",expired:"Your sign-in has ended",expired_hint:"Sign in again to see your data.",busy:"Too many requests at the moment",too_large:"Too much data for one chart",too_large_hint:"Choose a shorter period or add a filter.",retry:"Try again",no_change:"no change",up:"up {0}",down:"down {0}",chart_summary:"{0}, {1}: {2}.",chart_peak:"Most on {0}: {1}.",show_table:"Show as table"};var Dn=200,On=6e4,vt=class extends EventTarget{#t=In();#e;#n="previous";#i=[];#r=new Set;#s=new Map;#o=new Set;#a=!1;#l;#c;#u;constructor(t){super(),this.client=new _t(t),this.#e=O("30d",this.today)}get today(){return Wt(this.#t,new Date)}get range(){return this.#e}set range(t){this.#e=t,this.#h("nealytics-range-change",{...t})}get tz(){return this.#t}set tz(t){Wt(t,new Date),this.#t=t,this.#e.preset&&(this.#e=O(this.#e.preset,this.today)),this.#h("nealytics-range-change",{...this.#e})}get comparison(){return this.#n}set comparison(t){this.#n=t,this.#h("nealytics-range-change",{...this.#e,comparison:t})}get filters(){return this.#i}set filters(t){this.#i=[...new Set(t)],this.#h("nealytics-filter-change",{filters:this.#i})}get comparedRange(){return De(this.#e,this.#n)}get interval(){return yt(this.#e)}get shared(){return{from:this.#e.from,to:this.#e.to,tz:this.#t,filter:this.#i}}addFilter(t){this.#i.includes(t)||(this.filters=[...this.#i,t])}removeFilter(t){this.filters=this.#i.filter(e=>e!==t)}add(t){this.#r.add(t),this.#o.add(t),this.#d(),this.#u??=setInterval(()=>this.#p(),On)}remove(t){this.#r.delete(t),this.#o.delete(t),this.#r.size===0&&(clearInterval(this.#u),this.#u=void 0,this.#l?.abort())}askAgain(t){this.#o.add(t),this.#d()}refresh(){for(let t of this.#r)this.#o.add(t);this.#d()}#h(t,e){this.dispatchEvent(new CustomEvent("change")),this.dispatchEvent(new CustomEvent(t,{detail:e})),this.#c=void 0,this.#l?.abort(),this.refresh()}#p(){if(!document.hidden){if(this.#e.preset){let t=O(this.#e.preset,this.today);if(t.from!==this.#e.from||t.to!==this.#e.to){this.range=t;return}}this.#e.to>=this.today&&this.refresh()}}#d(){this.#a||(this.#a=!0,setTimeout(()=>{this.#a=!1,this.#f()}))}async#f(){let t=[...this.#o].filter(a=>this.#r.has(a));this.#o=new Set;let e=this.#c??=this.shared,i=t.map(a=>({asker:a,questions:a.questions(this)})),r=new Map;for(let{questions:a}of i)for(let l of Object.values(a)){let h=JSON.stringify([e,l]);this.#s.has(h)||r.set(h,l)}let s=[...r.keys()],o=new Map(this.#s);if(s.length>0){for(let{asker:l}of i)l.waiting();let a=this.#l=new AbortController;try{let l=Object.fromEntries(s.map((u,c)=>[`q${c}`,r.get(u)])),h=await this.client.ask(e,l,a.signal);s.forEach((u,c)=>{let d=h[`q${c}`]??new T("http","the node left this question out");o.set(u,d),!(d instanceof T)&&this.#m(e,d)&&this.#g(u,d)})}catch(l){if(a.signal.aborted)return;let h=l instanceof T?l:new T("http",String(l));for(let u of s)o.set(u,h);this.dispatchEvent(new CustomEvent("nealytics-error",{detail:{code:h.code,message:h.message}}))}}if(e===this.#c)for(let{asker:a,questions:l}of i){let h=Object.entries(l).map(([u,c])=>[u,o.get(JSON.stringify([e,c]))]);a.receive(Object.fromEntries(h))}}#m(t,e){return t.to<this.today&&!e.warnings}#g(t,e){this.#s.set(t,e),this.#s.size>Dn&&this.#s.delete(this.#s.keys().next().value)}};function In(){return Intl.DateTimeFormat().resolvedOptions().timeZone||"UTC"}var xt=class{constructor(t,e,i){this.lang=t;this.tz=e;this.messages=i}#t=new Map;#e=new Map;text(t,...e){return(this.messages[t]??W[t]).replace(/\{(\d)\}/g,(r,s)=>e[Number(s)]??"")}short(t){return Math.abs(t)<1e4?this.exact(t):this.#n({notation:"compact",maximumFractionDigits:1}).format(t)}exact(t){return this.#n({maximumFractionDigits:Math.abs(t)<100?1:0}).format(t)}percent(t){let e=Math.abs(t)<.1?1:0;return this.#n({style:"percent",maximumFractionDigits:e}).format(t)}change(t,e){if(e===void 0||e===0&&t===0)return;if(e===0)return{text:"",sign:1};let i=t/e-1,r=Math.round(Math.abs(i)*1e3)/1e3,s=r<1?1:0;return{text:this.#n({style:"percent",minimumFractionDigits:s,maximumFractionDigits:s}).format(r),sign:r===0?0:i>0?1:-1}}duration(t){let e=Math.round(t),i=o=>this.#n({minimumIntegerDigits:2,useGrouping:!1}).format(o),r=o=>this.#n({maximumFractionDigits:0}).format(o);if(e>=86400){let o=(l,h)=>this.#n({style:"unit",unit:h,unitDisplay:"narrow",maximumFractionDigits:0}).format(l),a=Math.floor(e%86400/3600);return[o(Math.floor(e/86400),"day"),a?o(a,"hour"):""].filter(Boolean).join(" ")}let s=`${i(Math.floor(e%3600/60))}:${i(e%60)}`;return e>=3600?`${r(Math.floor(e/3600))}:${s}`:`${r(Math.floor(e/60))}:${i(e%60)}`}bucket(t,e){return this.#i(Un[e]).format(t)}tick(t,e){return this.#i(zn[e]).format(t)}clock(t){return this.#i({hour:"numeric",minute:"2-digit",second:"2-digit"}).format(t)}days(t,e){let i={timeZone:"UTC",day:"numeric",month:"short",year:"numeric"};return this.#i(i).formatRange(new Date(t),new Date(e))}#n(t){return Ie(this.#t,t,()=>new Intl.NumberFormat(this.lang,t))}#i(t){return Ie(this.#e,t,()=>new Intl.DateTimeFormat(this.lang,{timeZone:this.tz,...t}))}},Un={hour:{weekday:"short",day:"numeric",month:"short",hour:"numeric",minute:"2-digit"},day:{weekday:"short",day:"numeric",month:"long",year:"numeric"},week:{day:"numeric",month:"long",year:"numeric"},month:{month:"long",year:"numeric"}},zn={hour:{hour:"numeric",minute:"2-digit"},day:{day:"numeric",month:"short"},week:{day:"numeric",month:"short"},month:{month:"short",year:"2-digit"}};function Ie(n,t,e){let i=JSON.stringify(t),r=n.get(i);return r===void 0&&n.set(i,r=e()),r}var Ue={de:{today:"Heute",yesterday:"Gestern","7d":"Letzte 7 Tage","30d":"Letzte 30 Tage","90d":"Letzte 90 Tage",this_month:"Dieser Monat",last_month:"Letzter Monat",custom:"Eigener Zeitraum",from:"Von",to:"Bis",apply:"Anwenden",compare:"Vergleichen",compare_none:"Kein Vergleich",compare_previous:"Vorheriger Zeitraum",compare_year:"Vorjahr",events:"Ereignisse",sessions:"Sitzungen",users:"Nutzer",eventsPerSession:"Ereignisse je Sitzung",medianSessionDurationSeconds:"Mittlere Dauer",bounceShare:"Absprungrate",event_type:"Ereignisse",item_id:"Seiten und Inhalte",user_id:"Nutzer",tenant_id:"Mandanten",session_id:"Sitzungen",other:"Andere",total:"Gesamt",share:"Anteil",value:"Wert",time:"Zeit",change:"\xC4nderung",previous:"Zuvor",funnel:"Trichter",retention:"Wiederkehr",cohort:"Zuerst gesehen",size:"Personen",median_time:"Median",filter:"Filtern",remove_filter:"Filter entfernen",download_csv:"Als CSV laden",download_all:"Alle Ereignisse laden",copy_link:"Link kopieren",print:"Drucken",more:"Mehr",loading:"L\xE4dt",empty:"Keine Daten in diesem Zeitraum",empty_hint:"W\xE4hle einen l\xE4ngeren Zeitraum oder entferne einen Filter.",error:"Dieses Diagramm konnte nicht geladen werden",offline:"Du scheinst offline zu sein",expired:"Deine Anmeldung ist abgelaufen",expired_hint:"Melde dich neu an, um deine Daten zu sehen.",busy:"Gerade zu viele Anfragen",too_large:"Zu viele Daten f\xFCr ein Diagramm",too_large_hint:"W\xE4hle einen k\xFCrzeren Zeitraum oder f\xFCge einen Filter hinzu.",retry:"Erneut versuchen",no_change:"unver\xE4ndert",up:"plus {0}",down:"minus {0}",chart_peak:"Am meisten am {0}: {1}.",show_table:"Als Tabelle"}};var ze=n=>(...t)=>({_$litDirective$:n,values:t}),bt=class{constructor(t){}get _$AU(){return this._$AM._$AU}_$AT(t,e,i){this._$Ct=t,this._$AM=e,this._$Ci=i}_$AS(t,e){return this.update(t,e)}update(t,e){return this.render(...e)}};var Xt=class extends bt{render(t,e){return M}update(t,[e,i]){return t.element.style.setProperty(e,String(i)),M}},A=ze(Xt);function I(n){return x`<svg viewBox="0 0 16 16" aria-hidden="true">${Ln[n]}</svg>`}var Ln={calendar:x`<rect x="2" y="3" width="12" height="11" rx="2"/><path d="M2 6.5h12M5 1.5v3M11 1.5v3"/>`,chevron:x`<path d="m4.5 6.5 3.5 3.5 3.5-3.5"/>`,close:x`<path d="m4 4 8 8m0-8-8 8"/>`,compare:x`<path d="M2 11.5 6 7l3 3 5-6M2 14h12"/>`,more:x`<path d="M3.5 8h.01M8 8h.01M12.5 8h.01" stroke-width="2.4"/>`};function Le(n){let t=e=>{let i=typeof e=="string"&&/^[=+\-@\t\r]/.test(e)?`'${e}`:String(e);return/[",\r\n]/.test(i)?`"${i.replaceAll('"','""')}"`:i};return[n.head,...n.rows].map(e=>e.map(t).join(",")).join(`\r
`)+`\r
`}function qe(n,t,e){let i=document.createElement("a");i.href=URL.createObjectURL(new Blob([t],{type:e})),i.download=n,i.click(),setTimeout(()=>URL.revokeObjectURL(i.href),1e4)}var wt=k`
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
`,$t=k`
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
`,Fe=k`
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
`;var qn=new URL(".",import.meta.url).href,ut=class n extends N{static{this.properties={src:{},range:{},tz:{},compare:{},filter:{},lang:{},theme:{reflect:!0},dev:{type:Boolean},messages:{attribute:!1},getToken:{attribute:!1}}}#t;#e;#n=t=>{this.requestUpdate(),t instanceof CustomEvent&&t.type!=="change"&&this.#o(t.type,t.detail)};get owner(){for(let t=this;t;){if(t=(t instanceof Element?t.parentElement:null)??t.getRootNode().host??null,t instanceof n&&t.ownsPage)return t;if(t===document.documentElement||t===void 0)return}}get ownsPage(){return!1}get page(){let t=this.ownsPage?void 0:this.owner;if(t)return t.page;if(!this.#t){this.#t=new vt(this.src?new URL(this.src,document.baseURI).href:qn),this.#t.client.getToken=()=>this.#r();for(let e of["change","nealytics-range-change","nealytics-filter-change","nealytics-error"])this.#t.addEventListener(e,this.#n);this.#s()}return this.#t}get format(){let t=this.language,e={...Ue[t.split("-")[0]??"en"],...this.owner?.messages,...this.messages};return(this.#e?.lang!==t||this.#e.tz!==this.page.tz||this.messages!==this.#i)&&(this.#i=this.messages,this.#e=new xt(t,this.page.tz,e)),this.#e}#i;get language(){return this.lang||this.owner?.language||document.documentElement.lang||navigator.language||"en"}willUpdate(t){this.#t&&(["range","tz","compare","filter"].some(e=>t.has(e)&&t.get(e)!==void 0)&&this.#s(),t.has("getToken")&&t.get("getToken")!==void 0?(this.#t.client.forgetToken(),this.#t.refresh()):t.has("getToken")&&this.getToken&&this.#t.refresh())}#r(){if(!this.getToken)throw new T("no_token",`<${this.localName}> has no getToken`);return this.getToken()}#s(){let t=this.#t;if(t){if(this.tz&&this.tz!==t.tz)try{t.tz=this.tz}catch{console.error(`nealytics: tz is "${this.tz}", which is no time zone; ${t.tz} is used`)}if(this.compare&&this.compare!==t.comparison&&(ct.includes(this.compare)?t.comparison=this.compare:console.error(`nealytics: compare is "${this.compare}"; write one of ${ct.join(", ")}`)),this.filter&&(t.filters=this.filter.split(`
`).map(e=>e.trim()).filter(Boolean)),this.range){let[e="",i=e]=this.range.split("..");ht.includes(this.range)?t.range=O(this.range,t.today):Y(e)&&Y(i)&&e<=i?t.range={from:e,to:i}:console.error(`nealytics: range is "${this.range}"; write one of ${ht.join(", ")}, or 2026-06-01..2026-06-30`)}}}#o(t,e){this.dispatchEvent(new CustomEvent(t,{detail:e,bubbles:!0,composed:!0}))}},$=class extends ut{constructor(){super();this.answers={};this.#e=()=>this.requestUpdate();this.#r=e=>{e.currentTarget.contains(e.relatedTarget)||(this.menuOpen=!1)};this.#s=e=>{e.key!=="Escape"||!this.menuOpen||(this.menuOpen=!1,e.currentTarget.querySelector("button")?.focus())};this.#o=()=>{this.menuOpen=!1;let{from:e,to:i}=this.page.range,r=(this.heading??this.defaultHeading()).toLowerCase().replace(/[^\p{L}\p{N}]+/gu,"-");qe(`${r}-${e}-${i}.csv`,`\uFEFF${Le(this.table())}`,"text/csv;charset=utf-8")};this.state="loading",this.menuOpen=!1}static{this.styles=[wt,$t,Fe]}static{this.properties={heading:{},state:{state:!0},menuOpen:{state:!0}}}#t;skeleton(){return p`<div class="skeleton block"></div>`}answer(e){return this.answers[e]}connectedCallback(){super.connectedCallback(),this.#t=this.page,this.#t.add(this),this.#t.addEventListener("change",this.#e)}disconnectedCallback(){super.disconnectedCallback(),this.#t?.remove(this),this.#t?.removeEventListener("change",this.#e)}#e;willUpdate(e){super.willUpdate(e),[...e.keys()].some(r=>this.asksBy().includes(r)&&e.get(r)!==void 0)&&this.hasUpdated&&this.page.askAgain(this)}asksBy(){return[]}waiting(){this.state=this.state==="loading"?"loading":"stale"}receive(e){let i=Object.values(e).some(r=>r instanceof T);if(this.answers=e,this.state="ready",i)for(let r of Object.values(e))r instanceof T&&this.#n(r);this.requestUpdate()}#n(e){console.warn(`nealytics: <${this.localName}>: ${e.code}: ${e.message}`)}get problem(){return Object.values(this.answers).find(e=>e instanceof T)}render(){let{problem:e}=this,i=this.state!=="loading"&&!e,r=i&&this.isEmpty();return p`<section part="card" aria-labelledby="title" aria-busy=${this.state==="ready"?"false":"true"}>
      <header part="header">
        <h3 part="title" id="title">${this.heading??this.defaultHeading()}</h3>
        ${this.actions()}${i&&!r?this.#i():f}
      </header>
      <div part="body" class="body" data-state=${this.state}>
        ${this.state==="loading"?this.skeleton():e?this.#l(e):r?this.#a():this.content()}
      </div>
    </section>`}actions(){return f}#i(){let e=this.format;return p`<div class="menu" @focusout=${this.#r} @keydown=${this.#s}>
      <button class="button icon quiet" aria-haspopup="menu" aria-expanded=${this.menuOpen}
        aria-label="${e.text("more")}: ${this.heading??this.defaultHeading()}" @click=${()=>this.menuOpen=!this.menuOpen}>
        ${I("more")}
      </button>
      ${this.menuOpen?p`<div class="sheet end" role="menu">
            <button class="item" role="menuitem" @click=${this.#o}>${e.text("download_csv")}</button>
          </div>`:f}
    </div>`}#r;#s;#o;#a(){let e=this.format;return p`<div class="note" part="empty"><p>${e.text("empty")}</p><p class="muted">${e.text("empty_hint")}</p></div>`}#l(e){let i=this.format,[r,s]=e.needsToken?[i.text("expired"),i.text("expired_hint")]:e.code==="offline"?[i.text("offline"),""]:e.status===429||e.status===503?[i.text("busy"),""]:e.code==="query_too_large"||e.code==="result_too_large"?[i.text("too_large"),i.text("too_large_hint")]:[i.text("error"),""];return p`<div class="note" part="error" role="status">
      <p>${r}</p>
      ${s?p`<p class="muted">${s}</p>`:f}
      ${this.dev??this.owner?.dev?p`<p class="muted"><code>${e.code}</code> ${e.message}</p>`:f}
      <button class="button" @click=${()=>this.page.askAgain(this)}>${i.text("retry")}</button>
    </div>`}hiddenTable(){let{head:e,rows:i}=this.table();return p`<div class="sr"><table>
      <caption>${this.heading??this.defaultHeading()}</caption>
      <thead><tr>${e.map(r=>p`<th scope="col">${r}</th>`)}</tr></thead>
      <tbody>${i.map(r=>p`<tr>${r.map((s,o)=>o?p`<td>${s}</td>`:p`<th scope="row">${s}</th>`)}</tr>`)}</tbody>
    </table></div>`}};var X=class extends ${static{this.properties={dimension:{},limit:{type:Number},chosen:{state:!0}}}static{this.styles=[...$.styles,k`
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
      ol {
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
        inset: 1px auto 1px 0;
        width: var(--share);
        border-radius: 7px;
        background: color-mix(in oklab, var(--_accent) 13%, transparent);
        transition: background 0.15s;
      }
      :host([dir="rtl"]) .row::before,
      :host-context([dir="rtl"]) .row::before {
        inset-inline: 0 auto;
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
    `]}constructor(){super(),this.dimension="event_type",this.limit=8}asksBy(){return["dimension","limit"]}get asksByChoice(){return!0}willUpdate(t){super.willUpdate(t),t.has("chosen")&&this.hasUpdated&&this.asksByChoice&&this.page.askAgain(this)}get dimensions(){return this.dimension.split(",").map(t=>t.trim()).filter(Boolean)}get shown(){return this.chosen&&this.dimensions.includes(this.chosen)?this.chosen:this.dimensions[0]??""}questions(t){return{top:{endpoint:"top",dimension:this.shown,limit:this.limit}}}defaultHeading(){return this.label(this.shown)}label(t){return t in W?this.format.text(t):t.replace(/^meta:/,"").replaceAll("\\","")}isEmpty(){return this.items.length===0}get items(){return this.answer("top").items}actions(){let t=this.dimensions;return t.length<2?f:p`<div role="tablist" aria-label=${this.heading??this.defaultHeading()} @keydown=${this.#t}>
      ${t.map(e=>p`<button role="tab" aria-selected=${e===this.shown} tabindex=${e===this.shown?0:-1}
        @click=${()=>this.chosen=e}>${this.label(e)}</button>`)}
    </div>`}render(){return this.toggleAttribute("data-tabs",this.dimensions.length>1&&!this.heading),super.render()}#t=t=>{let e=t.key==="ArrowRight"?1:t.key==="ArrowLeft"?-1:0;if(!e)return;let i=this.dimensions,r=(i.indexOf(this.shown)+e+i.length)%i.length;this.chosen=i[r],this.updateComplete.then(()=>this.renderRoot.querySelector('[role="tab"][aria-selected="true"]')?.focus())};content(){let t=this.format,{items:e}=this,i=Math.max(...e.map(r=>r.count),1);return p`<ol part="list">
      ${e.map(r=>p`<li><button class="row" part="row" ${A("--share",`${r.count/i*100}%`)}
          title="${t.text("filter")}: ${r.key}" @click=${()=>this.#e(r)}>
          <span class="key"><bdi>${r.key}</bdi></span>
          <span class="count"><span class="share">${t.percent(r.share)}</span><span title=${t.exact(r.count)}>${t.short(r.count)}</span></span>
        </button></li>`)}
    </ol>`}table(){let t=this.format,{items:e}=this;return{head:[this.label(this.shown),t.text("events"),t.text("share"),t.text("users")],rows:e.map(i=>[i.key,i.count,i.share,i.users??""])}}#e(t){let e=`${this.shown}:eq:${t.key}`,i=new CustomEvent("nealytics-select",{detail:{filter:e,...t},bubbles:!0,composed:!0,cancelable:!0});this.dispatchEvent(i)&&this.page.addFilter(e)}};var Fn=4,Bn=1e3,j=class n extends X{static{this.question=t=>({endpoint:"properties",limit:Fn,values:t})}static listed(t){return(t?.keys??[]).filter(({distinctValues:e})=>e>1&&e<Bn)}questions(t){return{properties:n.question(this.limit)}}get asksByChoice(){return!1}get#t(){return n.listed(this.answers.properties)}get dimensions(){return this.#t.map(({key:t})=>t)}get items(){return(this.#t.find(({key:e})=>e===this.shown)?.values??[]).map(({value:e,count:i,share:r})=>({key:e,count:i,share:r}))}};var kt=class extends ut{static{this.properties={funnel:{},open:{state:!0},has:{state:!0}}}static{this.styles=[wt,$t,k`
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
        .sheet {
          position: fixed;
          inset: auto 0 0 0;
          border-radius: 16px 16px 0 0;
          padding: 12px 12px max(16px, env(safe-area-inset-bottom));
          box-shadow: 0 -8px 40px rgb(0 0 0 / 25%);
        }
        .item {
          min-height: 44px;
        }
        .bar {
          flex-wrap: nowrap;
          overflow-x: auto;
          scrollbar-width: none;
        }
        [part="compare"] .name {
          display: none;
        }
      }
      @media print {
        .bar .menu {
          display: none;
        }
      }
    `]}#t;constructor(){super(),this.has={items:!0,users:!0,keys:!0}}get ownsPage(){return!0}connectedCallback(){super.connectedCallback(),!(this.childElementCount>0)&&(this.#t={questions:()=>({summary:{endpoint:"summary"},items:{endpoint:"top",dimension:"item_id",limit:8},keys:j.question(8)}),receive:t=>this.#e(t),waiting:()=>{}},this.page.add(this.#t))}disconnectedCallback(){super.disconnectedCallback(),this.#t&&this.page.remove(this.#t)}#e(t){let e=o=>t[o]instanceof T?void 0:t[o],i=e("summary");if(!i?.events)return;let r=j.listed(e("keys")),s={items:(e("items")?.items.length??0)>0,users:i.users>0,keys:r.length>0};JSON.stringify(s)!==JSON.stringify(this.has)&&(this.has=s)}updated(t){super.updated(t),t.has("open")&&this.open&&this.renderRoot.querySelector(".sheet .item")?.focus()}render(){return p`<div class="bar" part="controls" @keydown=${this.#u} @focusout=${this.#h}>
        ${this.#i()}${this.#r()}
        <div class="chips">${this.page.filters.map(t=>this.#s(t))}</div>
      </div>
      ${this.childElementCount>0?p`<slot></slot>`:this.#n()}`}#n(){let{items:t,users:e,keys:i}=this.has;return p`<div class="layout" part="layout">
      <nealytics-figures class="wide"></nealytics-figures>
      <nealytics-timeseries class="wide"></nealytics-timeseries>
      <nealytics-top dimension="event_type"></nealytics-top>
      ${t?p`<nealytics-top dimension="item_id"></nealytics-top>`:f}
      ${this.funnel?p`<nealytics-funnel class="wide" steps=${this.funnel}></nealytics-funnel>`:f}
      ${e?p`<nealytics-retention class=${i?"":"wide"}></nealytics-retention>`:f}
      ${i?p`<nealytics-properties class=${e?"":"wide"}></nealytics-properties>`:f}
    </div>`}#i(){let t=this.format,{range:e}=this.page,i=e.preset?t.text(e.preset):t.days(e.from,e.to);return p`<div class="menu">
      <button class="button" part="range" aria-haspopup="dialog" aria-expanded=${this.open==="range"} @click=${()=>this.#o("range")}>
        ${I("calendar")}${i}${I("chevron")}
      </button>
      ${this.open==="range"?p`<div class="sheet" role="dialog" aria-label=${t.text("custom")}>
            ${ht.map(r=>p`<button class="item" aria-current=${e.preset===r?"true":"false"}
              @click=${()=>this.#a(O(r,this.page.today))}>${t.text(r)}</button>`)}
            <form @submit=${this.#c}>
              <div class="dates">
                <label>${t.text("from")}<input name="from" type="date" required .value=${e.from} max=${this.page.today}></label>
                <label>${t.text("to")}<input name="to" type="date" required .value=${e.to}></label>
              </div>
              <button class="button primary">${t.text("apply")}</button>
            </form>
          </div>`:f}
    </div>`}#r(){let t=this.format,e=i=>t.text(`compare_${i}`);return p`<div class="menu">
      <button class="button" part="compare" aria-haspopup="dialog" aria-label="${t.text("compare")}: ${e(this.page.comparison)}" aria-expanded=${this.open==="compare"} @click=${()=>this.#o("compare")}>
        ${I("compare")}<span class="name">${e(this.page.comparison)}</span>${I("chevron")}
      </button>
      ${this.open==="compare"?p`<div class="sheet" role="dialog" aria-label=${t.text("compare")}>
            ${ct.map(i=>p`<button class="item" aria-current=${this.page.comparison===i?"true":"false"}
              @click=${()=>this.#l(()=>this.page.comparison=i)}>${e(i)}</button>`)}
          </div>`:f}
    </div>`}#s(t){let[,e="",i="",r=""]=/^((?:meta:)?(?:[^:\\]|\\.)*):(\w+):(.*)$/s.exec(t)??[],s=e in W?this.format.text(e):e.replace(/^meta:/,"");return p`<span class="chip" part="filter"><span>${s} ${i==="eq"?"=":i} ${r}</span>
      <button class="button icon quiet" aria-label="${this.format.text("remove_filter")}: ${s} ${r}"
        @click=${()=>this.page.removeFilter(t)}>${I("close")}</button>
    </span>`}#o(t){this.open=this.open===t?void 0:t}#a(t){this.#l(()=>this.page.range=t)}#l(t){let e=this.open;this.open=void 0,t(),this.updateComplete.then(()=>this.renderRoot.querySelector(`[part="${e}"]`)?.focus())}#c=t=>{t.preventDefault();let e=new FormData(t.target),[i,r]=[String(e.get("from")),String(e.get("to"))].sort();Y(i)&&Y(r)&&this.#a({from:i,to:r})};#u=t=>{t.key==="Escape"&&this.open&&this.#l(()=>{})};#h=t=>{let e=t.target.closest(".menu"),i=t.relatedTarget;this.open&&i&&e&&!e.contains(i)&&(this.open=void 0)};firstUpdated(t){super.firstUpdated(t),document.addEventListener("pointerdown",e=>{this.open&&!e.composedPath().some(i=>i instanceof Element&&i.matches(".menu"))&&(this.open=void 0)})}};var dt=Math.PI,Zt=2*dt,Q=1e-6,Hn=Zt-Q;function Be(n){this._+=n[0];for(let t=1,e=n.length;t<e;++t)this._+=arguments[t]+n[t]}function jn(n){let t=Math.floor(n);if(!(t>=0))throw new Error(`invalid digits: ${n}`);if(t>15)return Be;let e=10**t;return function(i){this._+=i[0];for(let r=1,s=i.length;r<s;++r)this._+=Math.round(arguments[r]*e)/e+i[r]}}function He(n,t,e,i){return n===e&&t===i}function Qn(n){let t=Math.floor(n);if(!(t<=15))return He;let e=10**t,i=function(r){return Math.round(r*e)};return function(r,s,o,a){return i(r)===i(o)&&i(s)===i(a)}}var Z=class{constructor(t){this._x0=this._y0=this._x1=this._y1=null,this._="",this._append=t==null?Be:jn(t),this._equal=t==null?He:Qn(t)}moveTo(t,e){this._append`M${this._x0=this._x1=+t},${this._y0=this._y1=+e}`}closePath(){this._x1!==null&&(this._x1=this._x0,this._y1=this._y0,this._append`Z`)}lineTo(t,e){this._append`L${this._x1=+t},${this._y1=+e}`}quadraticCurveTo(t,e,i,r){this._append`Q${+t},${+e},${this._x1=+i},${this._y1=+r}`}bezierCurveTo(t,e,i,r,s,o){this._append`C${+t},${+e},${+i},${+r},${this._x1=+s},${this._y1=+o}`}arcTo(t,e,i,r,s){if(t=+t,e=+e,i=+i,r=+r,s=+s,s<0)throw new Error(`negative radius: ${s}`);let o=this._x1,a=this._y1,l=i-t,h=r-e,u=o-t,c=a-e,d=u*u+c*c;if(this._x1===null)this._append`M${this._x1=t},${this._y1=e}`;else if(d>Q)if(!(Math.abs(c*l-h*u)>Q)||!s)this._append`L${this._x1=t},${this._y1=e}`;else{let g=i-o,_=r-a,w=l*l+h*h,m=g*g+_*_,y=Math.sqrt(w),v=Math.sqrt(d),E=s*Math.tan((dt-Math.acos((w+d-m)/(2*y*v)))/2),q=E/v,pe=E/y;Math.abs(q-1)>Q&&this._append`L${t+q*u},${e+q*c}`,this._append`A${s},${s},0,0,${+(c*g>u*_)},${this._x1=t+pe*l},${this._y1=e+pe*h}`}}arc(t,e,i,r,s,o){if(t=+t,e=+e,i=+i,o=!!o,i<0)throw new Error(`negative radius: ${i}`);let a=i*Math.cos(r),l=i*Math.sin(r),h=t+a,u=e+l,c=1^o,d=o?r-s:s-r;if(this._x1===null?this._append`M${h},${u}`:(Math.abs(this._x1-h)>Q||Math.abs(this._y1-u)>Q)&&this._append`L${h},${u}`,!!i){if(d<0&&(d=d%Zt+Zt),d>Hn)this._append`A${i},${i},0,1,${c},${t-a},${e-l}A${i},${i},0,1,${c},${this._x1=h},${this._y1=u}`;else if(d>Q){let g=t+i*Math.cos(s),_=e+i*Math.sin(s);if(d>=dt&&this._equal(h,u,g,_)){d/=2;let w=r+d;this._append`A${i},${i},0,${+(d>=dt)},${c},${t+i*Math.cos(w)},${e+i*Math.sin(w)}`}this._append`A${i},${i},0,${+(d>=dt)},${c},${this._x1=g},${this._y1=_}`}}}rect(t,e,i,r){this._append`M${this._x0=this._x1=+t},${this._y0=this._y1=+e}h${i=+i}v${+r}h${-i}Z`}toString(){return this._}};function Vn(){return new Z}Vn.prototype=Z.prototype;function b(n){return function(){return n}}var Kn=Math.cos;var te=Math.sin,J=Math.sqrt,je=1e-12,Tt=Math.PI,Rr=Tt/2,Xe=2*Tt;function Ze(n){let t=3;return n.digits=function(e){if(!arguments.length)return t;if(e==null)t=null;else{let i=Math.floor(e);if(!(i>=0))throw new RangeError(`invalid digits: ${e}`);t=i}return n},()=>new Z(t)}var Cr=Array.prototype.slice;function ne(n){return typeof n=="object"&&"length"in n?n:Array.from(n)}function Je(n){this._context=n}Je.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._point=0},lineEnd:function(){(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(n,t){switch(n=+n,t=+t,this._point){case 0:this._point=1,this._line?this._context.lineTo(n,t):this._context.moveTo(n,t);break;case 1:this._point=2;default:this._context.lineTo(n,t);break}}};function ie(n){return new Je(n)}function tn(n){return n[0]}function en(n){return n[1]}function V(n,t){var e=b(!0),i=null,r=ie,s=null,o=Ze(a);n=typeof n=="function"?n:n===void 0?tn:b(n),t=typeof t=="function"?t:t===void 0?en:b(t);function a(l){var h,u=(l=ne(l)).length,c,d=!1,g;for(i==null&&(s=r(g=o())),h=0;h<=u;++h)!(h<u&&e(c=l[h],h,l))===d&&((d=!d)?s.lineStart():s.lineEnd()),d&&s.point(+n(c,h,l),+t(c,h,l));if(g)return s=null,g+""||null}return a.x=function(l){return arguments.length?(n=typeof l=="function"?l:b(+l),a):n},a.y=function(l){return arguments.length?(t=typeof l=="function"?l:b(+l),a):t},a.defined=function(l){return arguments.length?(e=typeof l=="function"?l:b(!!l),a):e},a.curve=function(l){return arguments.length?(r=l,i!=null&&(s=r(i)),a):r},a.context=function(l){return arguments.length?(l==null?i=s=null:s=r(i=l),a):i},a}function re(n,t,e){var i=null,r=b(!0),s=null,o=ie,a=null,l=Ze(h);n=typeof n=="function"?n:n===void 0?tn:b(+n),t=typeof t=="function"?t:b(t===void 0?0:+t),e=typeof e=="function"?e:e===void 0?en:b(+e);function h(c){var d,g,_,w=(c=ne(c)).length,m,y=!1,v,E=new Array(w),q=new Array(w);for(s==null&&(a=o(v=l())),d=0;d<=w;++d){if(!(d<w&&r(m=c[d],d,c))===y)if(y=!y)g=d,a.areaStart(),a.lineStart();else{for(a.lineEnd(),a.lineStart(),_=d-1;_>=g;--_)a.point(E[_],q[_]);a.lineEnd(),a.areaEnd()}y&&(E[d]=+n(m,d,c),q[d]=+t(m,d,c),a.point(i?+i(m,d,c):E[d],e?+e(m,d,c):q[d]))}if(v)return a=null,v+""||null}function u(){return V().defined(r).curve(o).context(s)}return h.x=function(c){return arguments.length?(n=typeof c=="function"?c:b(+c),i=null,h):n},h.x0=function(c){return arguments.length?(n=typeof c=="function"?c:b(+c),h):n},h.x1=function(c){return arguments.length?(i=c==null?null:typeof c=="function"?c:b(+c),h):i},h.y=function(c){return arguments.length?(t=typeof c=="function"?c:b(+c),e=null,h):t},h.y0=function(c){return arguments.length?(t=typeof c=="function"?c:b(+c),h):t},h.y1=function(c){return arguments.length?(e=c==null?null:typeof c=="function"?c:b(+c),h):e},h.lineX0=h.lineY0=function(){return u().x(n).y(t)},h.lineY1=function(){return u().x(n).y(e)},h.lineX1=function(){return u().x(i).y(t)},h.defined=function(c){return arguments.length?(r=typeof c=="function"?c:b(!!c),h):r},h.curve=function(c){return arguments.length?(o=c,s!=null&&(a=o(s)),h):o},h.context=function(c){return arguments.length?(c==null?s=a=null:a=o(s=c),h):s},h}var Pr=Gn(ie);function nn(n){this._curve=n}nn.prototype={areaStart:function(){this._curve.areaStart()},areaEnd:function(){this._curve.areaEnd()},lineStart:function(){this._curve.lineStart()},lineEnd:function(){this._curve.lineEnd()},point:function(n,t){this._curve.point(t*Math.sin(n),t*-Math.cos(n))}};function Gn(n){function t(e){return new nn(n(e))}return t._curve=n,t}var Nr=J(3);var Yn=J(1/3),Dr=Yn*2;var rn=te(Tt/10)/te(7*Tt/10),Or=te(Xe/10)*rn,Ir=-Kn(Xe/10)*rn;var Ur=J(3);var zr=J(3);var Lr=J(3)/2,Wn=1/J(12),qr=(Wn/2+1)*3;function U(){}function At(n,t,e){n._context.bezierCurveTo((2*n._x0+n._x1)/3,(2*n._y0+n._y1)/3,(n._x0+2*n._x1)/3,(n._y0+2*n._y1)/3,(n._x0+4*n._x1+t)/6,(n._y0+4*n._y1+e)/6)}function se(n){this._context=n}se.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._y0=this._y1=NaN,this._point=0},lineEnd:function(){switch(this._point){case 3:At(this,this._x1,this._y1);case 2:this._context.lineTo(this._x1,this._y1);break}(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(n,t){switch(n=+n,t=+t,this._point){case 0:this._point=1,this._line?this._context.lineTo(n,t):this._context.moveTo(n,t);break;case 1:this._point=2;break;case 2:this._point=3,this._context.lineTo((5*this._x0+this._x1)/6,(5*this._y0+this._y1)/6);default:At(this,n,t);break}this._x0=this._x1,this._x1=n,this._y0=this._y1,this._y1=t}};function Xn(n){this._context=n}Xn.prototype={areaStart:U,areaEnd:U,lineStart:function(){this._x0=this._x1=this._x2=this._x3=this._x4=this._y0=this._y1=this._y2=this._y3=this._y4=NaN,this._point=0},lineEnd:function(){switch(this._point){case 1:{this._context.moveTo(this._x2,this._y2),this._context.closePath();break}case 2:{this._context.moveTo((this._x2+2*this._x3)/3,(this._y2+2*this._y3)/3),this._context.lineTo((this._x3+2*this._x2)/3,(this._y3+2*this._y2)/3),this._context.closePath();break}case 3:{this.point(this._x2,this._y2),this.point(this._x3,this._y3),this.point(this._x4,this._y4);break}}},point:function(n,t){switch(n=+n,t=+t,this._point){case 0:this._point=1,this._x2=n,this._y2=t;break;case 1:this._point=2,this._x3=n,this._y3=t;break;case 2:this._point=3,this._x4=n,this._y4=t,this._context.moveTo((this._x0+4*this._x1+n)/6,(this._y0+4*this._y1+t)/6);break;default:At(this,n,t);break}this._x0=this._x1,this._x1=n,this._y0=this._y1,this._y1=t}};function Zn(n){this._context=n}Zn.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._y0=this._y1=NaN,this._point=0},lineEnd:function(){(this._line||this._line!==0&&this._point===3)&&this._context.closePath(),this._line=1-this._line},point:function(n,t){switch(n=+n,t=+t,this._point){case 0:this._point=1;break;case 1:this._point=2;break;case 2:this._point=3;var e=(this._x0+4*this._x1+n)/6,i=(this._y0+4*this._y1+t)/6;this._line?this._context.lineTo(e,i):this._context.moveTo(e,i);break;case 3:this._point=4;default:At(this,n,t);break}this._x0=this._x1,this._x1=n,this._y0=this._y1,this._y1=t}};function sn(n,t){this._basis=new se(n),this._beta=t}sn.prototype={lineStart:function(){this._x=[],this._y=[],this._basis.lineStart()},lineEnd:function(){var n=this._x,t=this._y,e=n.length-1;if(e>0)for(var i=n[0],r=t[0],s=n[e]-i,o=t[e]-r,a=-1,l;++a<=e;)l=a/e,this._basis.point(this._beta*n[a]+(1-this._beta)*(i+l*s),this._beta*t[a]+(1-this._beta)*(r+l*o));this._x=this._y=null,this._basis.lineEnd()},point:function(n,t){this._x.push(+n),this._y.push(+t)}};var Fr=(function n(t){function e(i){return t===1?new se(i):new sn(i,t)}return e.beta=function(i){return n(+i)},e})(.85);function Et(n,t,e){n._context.bezierCurveTo(n._x1+n._k*(n._x2-n._x0),n._y1+n._k*(n._y2-n._y0),n._x2+n._k*(n._x1-t),n._y2+n._k*(n._y1-e),n._x2,n._y2)}function oe(n,t){this._context=n,this._k=(1-t)/6}oe.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._x2=this._y0=this._y1=this._y2=NaN,this._point=0},lineEnd:function(){switch(this._point){case 2:this._context.lineTo(this._x2,this._y2);break;case 3:Et(this,this._x1,this._y1);break}(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(n,t){switch(n=+n,t=+t,this._point){case 0:this._point=1,this._line?this._context.lineTo(n,t):this._context.moveTo(n,t);break;case 1:this._point=2,this._x1=n,this._y1=t;break;case 2:this._point=3;default:Et(this,n,t);break}this._x0=this._x1,this._x1=this._x2,this._x2=n,this._y0=this._y1,this._y1=this._y2,this._y2=t}};var Br=(function n(t){function e(i){return new oe(i,t)}return e.tension=function(i){return n(+i)},e})(0);function ae(n,t){this._context=n,this._k=(1-t)/6}ae.prototype={areaStart:U,areaEnd:U,lineStart:function(){this._x0=this._x1=this._x2=this._x3=this._x4=this._x5=this._y0=this._y1=this._y2=this._y3=this._y4=this._y5=NaN,this._point=0},lineEnd:function(){switch(this._point){case 1:{this._context.moveTo(this._x3,this._y3),this._context.closePath();break}case 2:{this._context.lineTo(this._x3,this._y3),this._context.closePath();break}case 3:{this.point(this._x3,this._y3),this.point(this._x4,this._y4),this.point(this._x5,this._y5);break}}},point:function(n,t){switch(n=+n,t=+t,this._point){case 0:this._point=1,this._x3=n,this._y3=t;break;case 1:this._point=2,this._context.moveTo(this._x4=n,this._y4=t);break;case 2:this._point=3,this._x5=n,this._y5=t;break;default:Et(this,n,t);break}this._x0=this._x1,this._x1=this._x2,this._x2=n,this._y0=this._y1,this._y1=this._y2,this._y2=t}};var Hr=(function n(t){function e(i){return new ae(i,t)}return e.tension=function(i){return n(+i)},e})(0);function le(n,t){this._context=n,this._k=(1-t)/6}le.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._x2=this._y0=this._y1=this._y2=NaN,this._point=0},lineEnd:function(){(this._line||this._line!==0&&this._point===3)&&this._context.closePath(),this._line=1-this._line},point:function(n,t){switch(n=+n,t=+t,this._point){case 0:this._point=1;break;case 1:this._point=2;break;case 2:this._point=3,this._line?this._context.lineTo(this._x2,this._y2):this._context.moveTo(this._x2,this._y2);break;case 3:this._point=4;default:Et(this,n,t);break}this._x0=this._x1,this._x1=this._x2,this._x2=n,this._y0=this._y1,this._y1=this._y2,this._y2=t}};var jr=(function n(t){function e(i){return new le(i,t)}return e.tension=function(i){return n(+i)},e})(0);function he(n,t,e){var i=n._x1,r=n._y1,s=n._x2,o=n._y2;if(n._l01_a>je){var a=2*n._l01_2a+3*n._l01_a*n._l12_a+n._l12_2a,l=3*n._l01_a*(n._l01_a+n._l12_a);i=(i*a-n._x0*n._l12_2a+n._x2*n._l01_2a)/l,r=(r*a-n._y0*n._l12_2a+n._y2*n._l01_2a)/l}if(n._l23_a>je){var h=2*n._l23_2a+3*n._l23_a*n._l12_a+n._l12_2a,u=3*n._l23_a*(n._l23_a+n._l12_a);s=(s*h+n._x1*n._l23_2a-t*n._l12_2a)/u,o=(o*h+n._y1*n._l23_2a-e*n._l12_2a)/u}n._context.bezierCurveTo(i,r,s,o,n._x2,n._y2)}function on(n,t){this._context=n,this._alpha=t}on.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._x2=this._y0=this._y1=this._y2=NaN,this._l01_a=this._l12_a=this._l23_a=this._l01_2a=this._l12_2a=this._l23_2a=this._point=0},lineEnd:function(){switch(this._point){case 2:this._context.lineTo(this._x2,this._y2);break;case 3:this.point(this._x2,this._y2);break}(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(n,t){if(n=+n,t=+t,this._point){var e=this._x2-n,i=this._y2-t;this._l23_a=Math.sqrt(this._l23_2a=Math.pow(e*e+i*i,this._alpha))}switch(this._point){case 0:this._point=1,this._line?this._context.lineTo(n,t):this._context.moveTo(n,t);break;case 1:this._point=2;break;case 2:this._point=3;default:he(this,n,t);break}this._l01_a=this._l12_a,this._l12_a=this._l23_a,this._l01_2a=this._l12_2a,this._l12_2a=this._l23_2a,this._x0=this._x1,this._x1=this._x2,this._x2=n,this._y0=this._y1,this._y1=this._y2,this._y2=t}};var Qr=(function n(t){function e(i){return t?new on(i,t):new oe(i,0)}return e.alpha=function(i){return n(+i)},e})(.5);function an(n,t){this._context=n,this._alpha=t}an.prototype={areaStart:U,areaEnd:U,lineStart:function(){this._x0=this._x1=this._x2=this._x3=this._x4=this._x5=this._y0=this._y1=this._y2=this._y3=this._y4=this._y5=NaN,this._l01_a=this._l12_a=this._l23_a=this._l01_2a=this._l12_2a=this._l23_2a=this._point=0},lineEnd:function(){switch(this._point){case 1:{this._context.moveTo(this._x3,this._y3),this._context.closePath();break}case 2:{this._context.lineTo(this._x3,this._y3),this._context.closePath();break}case 3:{this.point(this._x3,this._y3),this.point(this._x4,this._y4),this.point(this._x5,this._y5);break}}},point:function(n,t){if(n=+n,t=+t,this._point){var e=this._x2-n,i=this._y2-t;this._l23_a=Math.sqrt(this._l23_2a=Math.pow(e*e+i*i,this._alpha))}switch(this._point){case 0:this._point=1,this._x3=n,this._y3=t;break;case 1:this._point=2,this._context.moveTo(this._x4=n,this._y4=t);break;case 2:this._point=3,this._x5=n,this._y5=t;break;default:he(this,n,t);break}this._l01_a=this._l12_a,this._l12_a=this._l23_a,this._l01_2a=this._l12_2a,this._l12_2a=this._l23_2a,this._x0=this._x1,this._x1=this._x2,this._x2=n,this._y0=this._y1,this._y1=this._y2,this._y2=t}};var Vr=(function n(t){function e(i){return t?new an(i,t):new ae(i,0)}return e.alpha=function(i){return n(+i)},e})(.5);function ln(n,t){this._context=n,this._alpha=t}ln.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._x2=this._y0=this._y1=this._y2=NaN,this._l01_a=this._l12_a=this._l23_a=this._l01_2a=this._l12_2a=this._l23_2a=this._point=0},lineEnd:function(){(this._line||this._line!==0&&this._point===3)&&this._context.closePath(),this._line=1-this._line},point:function(n,t){if(n=+n,t=+t,this._point){var e=this._x2-n,i=this._y2-t;this._l23_a=Math.sqrt(this._l23_2a=Math.pow(e*e+i*i,this._alpha))}switch(this._point){case 0:this._point=1;break;case 1:this._point=2;break;case 2:this._point=3,this._line?this._context.lineTo(this._x2,this._y2):this._context.moveTo(this._x2,this._y2);break;case 3:this._point=4;default:he(this,n,t);break}this._l01_a=this._l12_a,this._l12_a=this._l23_a,this._l01_2a=this._l12_2a,this._l12_2a=this._l23_2a,this._x0=this._x1,this._x1=this._x2,this._x2=n,this._y0=this._y1,this._y1=this._y2,this._y2=t}};var Kr=(function n(t){function e(i){return t?new ln(i,t):new le(i,0)}return e.alpha=function(i){return n(+i)},e})(.5);function Jn(n){this._context=n}Jn.prototype={areaStart:U,areaEnd:U,lineStart:function(){this._point=0},lineEnd:function(){this._point&&this._context.closePath()},point:function(n,t){n=+n,t=+t,this._point?this._context.lineTo(n,t):(this._point=1,this._context.moveTo(n,t))}};function Qe(n){return n<0?-1:1}function Ve(n,t,e){var i=n._x1-n._x0,r=t-n._x1,s=(n._y1-n._y0)/(i||r<0&&-0),o=(e-n._y1)/(r||i<0&&-0),a=(s*r+o*i)/(i+r);return(Qe(s)+Qe(o))*Math.min(Math.abs(s),Math.abs(o),.5*Math.abs(a))||0}function Ke(n,t){var e=n._x1-n._x0;return e?(3*(n._y1-n._y0)/e-t)/2:t}function Jt(n,t,e){var i=n._x0,r=n._y0,s=n._x1,o=n._y1,a=(s-i)/3;n._context.bezierCurveTo(i+a,r+a*t,s-a,o-a*e,s,o)}function ee(n){this._context=n}ee.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x0=this._x1=this._y0=this._y1=this._t0=NaN,this._point=0},lineEnd:function(){switch(this._point){case 2:this._context.lineTo(this._x1,this._y1);break;case 3:Jt(this,this._t0,Ke(this,this._t0));break}(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line=1-this._line},point:function(n,t){var e=NaN;if(n=+n,t=+t,!(n===this._x1&&t===this._y1)){switch(this._point){case 0:this._point=1,this._line?this._context.lineTo(n,t):this._context.moveTo(n,t);break;case 1:this._point=2;break;case 2:this._point=3,Jt(this,Ke(this,e=Ve(this,n,t)),e);break;default:Jt(this,this._t0,e=Ve(this,n,t));break}this._x0=this._x1,this._x1=n,this._y0=this._y1,this._y1=t,this._t0=e}}};function ti(n){this._context=new hn(n)}(ti.prototype=Object.create(ee.prototype)).point=function(n,t){ee.prototype.point.call(this,t,n)};function hn(n){this._context=n}hn.prototype={moveTo:function(n,t){this._context.moveTo(t,n)},closePath:function(){this._context.closePath()},lineTo:function(n,t){this._context.lineTo(t,n)},bezierCurveTo:function(n,t,e,i,r,s){this._context.bezierCurveTo(t,n,i,e,s,r)}};function ei(n){this._context=n}ei.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x=[],this._y=[]},lineEnd:function(){var n=this._x,t=this._y,e=n.length;if(e)if(this._line?this._context.lineTo(n[0],t[0]):this._context.moveTo(n[0],t[0]),e===2)this._context.lineTo(n[1],t[1]);else for(var i=Ge(n),r=Ge(t),s=0,o=1;o<e;++s,++o)this._context.bezierCurveTo(i[0][s],r[0][s],i[1][s],r[1][s],n[o],t[o]);(this._line||this._line!==0&&e===1)&&this._context.closePath(),this._line=1-this._line,this._x=this._y=null},point:function(n,t){this._x.push(+n),this._y.push(+t)}};function Ge(n){var t,e=n.length-1,i,r=new Array(e),s=new Array(e),o=new Array(e);for(r[0]=0,s[0]=2,o[0]=n[0]+2*n[1],t=1;t<e-1;++t)r[t]=1,s[t]=4,o[t]=4*n[t]+2*n[t+1];for(r[e-1]=2,s[e-1]=7,o[e-1]=8*n[e-1]+n[e],t=1;t<e;++t)i=r[t]/s[t-1],s[t]-=i,o[t]-=i*o[t-1];for(r[e-1]=o[e-1]/s[e-1],t=e-2;t>=0;--t)r[t]=(o[t]-r[t+1])/s[t];for(s[e-1]=(n[e]+r[e-1])/2,t=0;t<e-1;++t)s[t]=2*n[t+1]-r[t+1];return[r,s]}function ni(n,t){this._context=n,this._t=t}ni.prototype={areaStart:function(){this._line=0},areaEnd:function(){this._line=NaN},lineStart:function(){this._x=this._y=NaN,this._point=0},lineEnd:function(){0<this._t&&this._t<1&&this._point===2&&this._context.lineTo(this._x,this._y),(this._line||this._line!==0&&this._point===1)&&this._context.closePath(),this._line>=0&&(this._t=1-this._t,this._line=1-this._line)},point:function(n,t){switch(n=+n,t=+t,this._point){case 0:this._point=1,this._line?this._context.lineTo(n,t):this._context.moveTo(n,t);break;case 1:this._point=2;default:{if(this._t<=0)this._context.lineTo(this._x,t),this._context.lineTo(n,t);else{var e=this._x*(1-this._t)+n*this._t;this._context.lineTo(e,this._y),this._context.lineTo(e,t)}break}}this._x=n,this._y=t}};function Ye(n,t){if((o=n.length)>1)for(var e=1,i,r,s=n[t[0]],o,a=s.length;e<o;++e)for(r=s,s=n[t[e]],i=0;i<a;++i)s[i][1]+=s[i][0]=isNaN(r[i][1])?r[i][0]:r[i][1]}function We(n){for(var t=n.length,e=new Array(t);--t>=0;)e[t]=t;return e}function ii(n,t){return n[t]}function ri(n){let t=[];return t.key=n,t}function cn(){var n=b([]),t=We,e=Ye,i=ii;function r(s){var o=Array.from(n.apply(this,arguments),ri),a,l=o.length,h=-1,u;for(let c of s)for(a=0,++h;a<l;++a)(o[a][h]=[0,+i(c,o[a].key,h,s)]).data=c;for(a=0,u=ne(t(o));a<l;++a)o[u[a]].index=a;return e(o,u),o}return r.keys=function(s){return arguments.length?(n=typeof s=="function"?s:b(Array.from(s)),r):n},r.value=function(s){return arguments.length?(i=typeof s=="function"?s:b(+s),r):i},r.order=function(s){return arguments.length?(t=s==null?We:typeof s=="function"?s:b(Array.from(s)),r):t},r.offset=function(s){return arguments.length?(e=s??Ye,r):e},r}var ce=["users","sessions","events","eventsPerSession","medianSessionDurationSeconds","bounceShare"],si=new Set(["bounceShare"]),St=class extends ${static{this.styles=[...$.styles,k`
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
      svg {
        display: block;
        width: 100%;
        height: 32px;
        margin-top: 6px;
        overflow: visible;
      }
      path {
        fill: none;
        stroke: var(--_accent);
        stroke-width: 1.5;
        vector-effect: non-scaling-stroke;
        stroke-linejoin: round;
      }
      .skeleton.tile {
        height: 24px;
        width: 60%;
        margin: 4px 0;
      }
    `]}questions(t){let e=t.comparedRange;return{summary:{endpoint:"summary",...e?{compare:`${e.from}..${e.to}`}:{}},events:{endpoint:"timeseries",interval:t.interval,fill:!0},users:{endpoint:"active",interval:t.interval==="hour"?"day":t.interval,by:"user"},sessions:{endpoint:"active",interval:t.interval==="hour"?"day":t.interval,by:"session"}}}defaultHeading(){return this.format.text("total")}isEmpty(){return!1}skeleton(){return p`<ul aria-hidden="true">
      ${ce.map(t=>p`<li><span class="label">${this.format.text(t)}</span><span class="skeleton tile"></span><span class="change"></span><svg></svg></li>`)}
    </ul>`}content(){let t=this.answer("summary");return p`<ul part="figures">
      ${ce.map(e=>this.#t(e,t[e],t.previous?.[e]))}
    </ul>`}table(){let t=this.format,e=this.answer("summary");return{head:["",t.text("value"),t.text("previous")],rows:ce.map(i=>[t.text(i),e[i],e.previous?.[i]??""])}}#t(t,e,i){let r=this.format,s=this.page.comparedRange?r.change(e,i):void 0,o=s&&s.sign!==0&&s.sign>0!==si.has(t);return p`<li part="figure">
      <span class="label">${r.text(t)}</span>
      <span class="value" title=${r.exact(e)}><bdi>${oi(r,t,e)}</bdi></span>
      <span class="change">${s?ue(r,s,o?"up":"down"):f}</span>
      ${this.#e(t)}
    </li>`}#e(t){let i=(this.answers[t]?.points??[]).map(o=>o.count??o.activeCount??0);if(i.length<2)return p`<svg aria-hidden="true"></svg>`;let r=Math.max(...i,1),s=V((o,a)=>a/(i.length-1)*100,o=>30-o/r*28)(i);return p`<svg aria-hidden="true" viewBox="0 0 100 32" preserveAspectRatio="none">${x`<path d=${s}/>`}</svg>`}};function ue(n,t,e){if(t.sign===0)return p`<span class="muted">${n.text("no_change")}</span>`;let[i,r]=t.sign>0?["\u25B2","up"]:["\u25BC","down"];return p`<span class=${e}><span aria-hidden="true">${i} <bdi>${t.text}</bdi></span><span class="sr">${n.text(r,t.text)}</span></span>`}function oi(n,t,e){return t==="medianSessionDurationSeconds"?n.duration(e):t==="bounceShare"?n.percent(e):n.short(e)}var Mt=class extends ${static{this.properties={steps:{},window:{},by:{}}}static{this.styles=[...$.styles,k`
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
    `]}constructor(){super(),this.steps="",this.window="7d",this.by="user"}asksBy(){return["steps","window","by"]}questions(t){return{funnel:{endpoint:"funnel",step:this.steps.split(",").map(i=>i.trim()).filter(Boolean),window:this.window,by:this.by}}}defaultHeading(){return this.format.text("funnel")}isEmpty(){return!this.answer("funnel").steps[0]?.count}content(){let t=this.format,{steps:e}=this.answer("funnel");return p`<ol part="funnel">
      ${e.map((i,r)=>{let s=e[r+1],o=`${i.conversion*100}%`,a=i.medianSecondsFromPrevious;return p`<li ${A("--height",o)} ${A("--next",`${(s&&i.count?s.count/i.count:0)*100}%`)}>
          <span class="name" title=${i.eventType}><bdi>${i.eventType}</bdi></span>
          <div class="bars" aria-hidden="true">
            <div class="bar"></div>
            ${s?p`<div class="slope"></div><span class="rate">${t.percent(s.conversionFromPrevious)}</span>`:f}
          </div>
          <div class="numbers">
            <div class="count" title=${t.exact(i.count)}>${t.short(i.count)}</div>
            <div class="detail">${t.percent(i.conversion)}${a===void 0?f:p` · ${t.text("median_time")} ${t.duration(a)}`}</div>
          </div>
        </li>`})}
    </ol>`}table(){let t=this.format,{steps:e}=this.answer("funnel");return{head:[t.text("event_type"),t.text("users"),t.text("share"),`${t.text("median_time")} (s)`],rows:e.map(i=>[i.eventType,i.count,i.conversion,i.medianSecondsFromPrevious??""])}}};var Rt=8,ai=8,li=6,Ct=class extends ${static{this.properties={interval:{},cohortEvent:{attribute:"cohort-event"},returnEvent:{attribute:"return-event"}}}static{this.styles=[...$.styles,k`
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
    `]}constructor(){super(),this.interval="week"}asksBy(){return["interval","cohortEvent","returnEvent"]}questions(t){let{to:e}=t.range,i=this.interval==="month"?D(e,1-Rt):S(e,(this.interval==="week"?-7:-1)*(Rt-1)),r=i<t.range.from?i:t.range.from,s={...this.cohortEvent?{cohortEvent:this.cohortEvent}:{},...this.returnEvent?{returnEvent:this.returnEvent}:{}};return{retention:{endpoint:"retention",interval:this.interval,periods:Rt,from:r,...s}}}defaultHeading(){return this.format.text("retention")}isEmpty(){return this.#t.length===0}get#t(){return this.answer("retention").cohorts.slice(-12)}content(){let t=this.format,e=Math.max(.01,...this.#t.flatMap(({periods:r})=>r.slice(1).map(({share:s})=>s))),i=Math.max(...this.#t.map(({periods:r})=>r.length));return p`<div class="scroll" tabindex="0" role="group" aria-label=${this.heading??this.defaultHeading()}>
      <table part="table">
        <thead><tr>
          <th scope="col">${t.text("cohort")}</th><th scope="col">${t.text("size")}</th>
          ${Array.from({length:i},(r,s)=>p`<th scope="col">${s}</th>`)}
        </tr></thead>
        <tbody>${this.#t.map(r=>p`<tr>
          <th scope="row">${t.tick(new Date(r.cohort),this.interval)}</th>
          <td class="size">${t.short(r.size)}</td>
          ${r.periods.map(({period:s,share:o,count:a})=>{let l=s===0?100:Math.ceil(o/e*ai)*li;return p`<td class="cell ${s===0?"full":""}" title=${t.exact(a)} ${A("--level",`${l}%`)}>${t.percent(o)}</td>`})}
        </tr>`)}</tbody>
      </table>
    </div>`}table(){let t=this.format;return{head:[t.text("cohort"),t.text("size"),...Array.from({length:Rt+1},(e,i)=>String(i))],rows:this.#t.map(({cohort:e,size:i,periods:r})=>[e,i,...r.map(({count:s})=>s)])}}};var Pt=class extends ${static{this.properties={order:{},limit:{type:Number},opened:{state:!0}}}static{this.styles=[...$.styles,k`
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
    `]}constructor(){super(),this.order="-start",this.limit=8}asksBy(){return["order","limit"]}willUpdate(t){super.willUpdate(t),t.has("opened")&&this.opened&&this.hasUpdated&&this.page.askAgain(this)}questions(t){let e={sessions:{endpoint:"sessions",order:this.order,limit:this.limit}};return this.opened&&(e.events={endpoint:"timeline",sessionId:this.opened,limit:100}),e}defaultHeading(){return this.format.text("sessions")}get#t(){return this.answer("sessions").sessions}isEmpty(){return this.#t.length===0}content(){let t=this.format;return p`<ol class="rows" part="list">
      ${this.#t.map(e=>{let i=this.opened===e.sessionId;return p`<li>
          <button class="row" aria-expanded=${i} @click=${()=>this.opened=i?void 0:e.sessionId}>
            <span class="what">${t.bucket(new Date(e.firstSeen),"hour")}</span>
            <span class="muted">${t.duration(e.durationSeconds)}</span>
            <span>${t.exact(e.eventCount)} <span class="muted">${t.text("events").toLocaleLowerCase(t.lang)}</span></span>
          </button>
          ${i?this.#e():f}
        </li>`})}
    </ol>`}#e(){let t=this.format,e=this.answers.events?.events;return e?p`<ol class="events">
      ${[...e].reverse().map(i=>p`<li>
        <span class="what">${i.eventType}${i.itemId?p` <span class="muted">${i.itemId}</span>`:f}</span>
        <span class="muted number">${t.clock(new Date(i.timestamp))}</span>
      </li>`)}
    </ol>`:p`<div class="events muted">${t.text("loading")} …</div>`}table(){let t=this.format;return{head:[t.text("sessions"),t.text("time"),`${t.text("medianSessionDurationSeconds")} (s)`,t.text("events")],rows:this.#t.map(e=>[e.sessionId,e.firstSeen,e.durationSeconds,e.eventCount])}}};function Nt(n,t){return n==null||t==null?NaN:n<t?-1:n>t?1:n>=t?0:NaN}function hi(n,t){return n==null||t==null?NaN:t<n?-1:t>n?1:t>=n?0:NaN}function un(n){let t,e,i;n.length!==2?(t=Nt,e=(a,l)=>Nt(n(a),l),i=(a,l)=>n(a)-l):(t=n===Nt||n===hi?n:ci,e=n,i=n);function r(a,l,h=0,u=a.length){if(h<u){if(t(l,l)!==0)return u;do{let c=h+u>>>1;e(a[c],l)<0?h=c+1:u=c}while(h<u)}return h}function s(a,l,h=0,u=a.length){if(h<u){if(t(l,l)!==0)return u;do{let c=h+u>>>1;e(a[c],l)<=0?h=c+1:u=c}while(h<u)}return h}function o(a,l,h=0,u=a.length){let c=r(a,l,h,u-1);return c>h&&i(a[c-1],l)>-i(a[c],l)?c-1:c}return{left:r,center:o,right:s}}function ci(){return 0}function ui(n){return n===null?NaN:+n}var dn=un(Nt),us=dn.right,ds=dn.left,ps=un(ui).center;var fs=pn(fn),ms=pn(di);function pn(n){return function(t,e,i=e){if(!((e=+e)>=0))throw new RangeError("invalid rx");if(!((i=+i)>=0))throw new RangeError("invalid ry");let{data:r,width:s,height:o}=t;if(!((s=Math.floor(s))>=0))throw new RangeError("invalid width");if(!((o=Math.floor(o!==void 0?o:r.length/s))>=0))throw new RangeError("invalid height");if(!s||!o||!e&&!i)return t;let a=e&&n(e),l=i&&n(i),h=r.slice();return a&&l?(tt(a,h,r,s,o),tt(a,r,h,s,o),tt(a,h,r,s,o),et(l,r,h,s,o),et(l,h,r,s,o),et(l,r,h,s,o)):a?(tt(a,r,h,s,o),tt(a,h,r,s,o),tt(a,r,h,s,o)):l&&(et(l,r,h,s,o),et(l,h,r,s,o),et(l,r,h,s,o)),t}}function tt(n,t,e,i,r){for(let s=0,o=i*r;s<o;)n(t,e,s,s+=i,1)}function et(n,t,e,i,r){for(let s=0,o=i*r;s<i;++s)n(t,e,s,s+o,i)}function di(n){let t=fn(n);return(e,i,r,s,o)=>{r<<=2,s<<=2,o<<=2,t(e,i,r+0,s+0,o),t(e,i,r+1,s+1,o),t(e,i,r+2,s+2,o),t(e,i,r+3,s+3,o)}}function fn(n){let t=Math.floor(n);if(t===n)return pi(n);let e=n-t,i=2*n+1;return(r,s,o,a,l)=>{if(!((a-=l)>=o))return;let h=t*s[o],u=l*t,c=u+l;for(let d=o,g=o+u;d<g;d+=l)h+=s[Math.min(a,d)];for(let d=o,g=a;d<=g;d+=l)h+=s[Math.min(a,d+u)],r[d]=(h+e*(s[Math.max(o,d-c)]+s[Math.min(a,d+c)]))/i,h-=s[Math.max(o,d-u)]}}function pi(n){let t=2*n+1;return(e,i,r,s,o)=>{if(!((s-=o)>=r))return;let a=n*i[r],l=o*n;for(let h=r,u=r+l;h<u;h+=o)a+=i[Math.min(s,h)];for(let h=r,u=s;h<=u;h+=o)a+=i[Math.min(s,h+l)],e[h]=a/t,a-=i[Math.max(r,h-l)]}}var fi=Array.prototype,gs=fi.slice;var mi=Math.sqrt(50),gi=Math.sqrt(10),_i=Math.sqrt(2);function Dt(n,t,e){let i=(t-n)/Math.max(0,e),r=Math.floor(Math.log10(i)),s=i/Math.pow(10,r),o=s>=mi?10:s>=gi?5:s>=_i?2:1,a,l,h;return r<0?(h=Math.pow(10,-r)/o,a=Math.round(n*h),l=Math.round(t*h),a/h<n&&++a,l/h>t&&--l,h=-h):(h=Math.pow(10,r)*o,a=Math.round(n/h),l=Math.round(t/h),a*h<n&&++a,l*h>t&&--l),l<a&&.5<=e&&e<2?Dt(n,t,e*2):[a,l,h]}function mn(n,t,e){if(t=+t,n=+n,e=+e,!(e>0))return[];if(n===t)return[n];let i=t<n,[r,s,o]=i?Dt(t,n,e):Dt(n,t,e);if(!(s>=r))return[];let a=s-r+1,l=new Array(a);if(i)if(o<0)for(let h=0;h<a;++h)l[h]=(s-h)/-o;else for(let h=0;h<a;++h)l[h]=(s-h)*o;else if(o<0)for(let h=0;h<a;++h)l[h]=(r+h)/-o;else for(let h=0;h<a;++h)l[h]=(r+h)*o;return l}function yi(n,t,e){return t=+t,n=+n,e=+e,Dt(n,t,e)[2]}function gn(n,t,e){let i;for(;;){let r=yi(n,t,e);if(r===i||r===0||!isFinite(r))return[n,t];if(r>0){let s=Math.ceil(n/r),o=Math.floor(t/r);n=(s-(s*r>n))*r,t=(o+(o*r<t))*r}else if(r<0){let s=-r,o=Math.ceil(n*s),a=Math.floor(t*s);n=(o-(o/s>n))/s,t=(a+(a/s<t))/s}i=r}}var _s=vi(Math.random);function vi(n){return function(e,i=0,r=e.length){let s=r-(i=+i);for(;s;){let o=n()*s--|0,a=e[s+i];e[s+i]=e[o+i],e[o+i]=a}return e}}var z=280,R={top:10,bottom:26,side:2},de=8,It=class extends ${static{this.properties={measure:{},groupBy:{attribute:"group-by"},kind:{},width:{state:!0},hovered:{state:!0}}}#t;static{this.styles=[...$.styles,k`
      .chart {
        position: relative;
        height: ${z}px;
        touch-action: pan-y;
      }
      .block {
        height: ${z}px;
      }
      svg {
        display: block;
        width: 100%;
        height: ${z}px;
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
    `]}constructor(){super(),this.measure="events",this.kind="area",this.width=0}asksBy(){return["measure","groupBy"]}questions(t){let e=t.comparedRange,i={now:this.#e(t)};return e&&!this.groupBy&&(i.previous={...this.#e(t),from:e.from,to:e.to}),i}#e(t){let{interval:e}=t;return this.measure!=="events"?{endpoint:"active",interval:e==="hour"?"day":e,by:this.measure==="users"?"user":"session"}:{endpoint:"timeseries",interval:e,fill:!0,...this.groupBy?{groupBy:this.groupBy}:{}}}defaultHeading(){return this.format.text(this.measure)}isEmpty(){return!this.answer("now").points.some(t=>Ot(t)>0)}firstUpdated(t){super.firstUpdated(t),this.#t=new ResizeObserver(([e])=>this.width=e?.contentRect.width??0),this.#t.observe(this.renderRoot.querySelector(".body"))}disconnectedCallback(){super.disconnectedCallback(),this.#t?.disconnect()}get#n(){let t=yt(this.page.range);return this.measure!=="events"&&t==="hour"?"day":t}get#i(){let{points:t}=this.answer("now"),e=[...new Set(t.map(l=>l.bucket))].sort((l,h)=>Date.parse(l)-Date.parse(h)),i=new Map(e.map((l,h)=>[l,h])),r=this.groupBy?xi(t):[this.format.text(this.measure)],s=this.format.text("other"),o=new Map(r.map(l=>[l,new Array(e.length).fill(0)]));for(let l of t){let h=this.groupBy?l.series??"\u2013":r[0],u=o.get(h)??bi(o,s,e.length),c=i.get(l.bucket);u[c]=(u[c]??0)+Ot(l)}let a=t.at(-1);return{starts:e.map(l=>new Date(l)),series:[...o].map(([l,h])=>({name:l,values:h})),partial:a?.partial??(this.page.range.to>=this.page.today&&e.length>1)}}get#r(){if(!(this.groupBy||!this.page.comparedRange))return this.answers.previous?.points.map(Ot)}table(){let t=this.format,{starts:e,series:i}=this.#i,r=this.#r;return{head:[t.text("time"),...i.map(({name:s})=>s),...r?[t.text("previous")]:[]],rows:e.map((s,o)=>[t.bucket(s,this.#n),...i.map(({values:a})=>a[o]??0),...r?[r[o]??""]:[]])}}content(){let{starts:t,series:e,partial:i}=this.#i,r=this.groupBy!==void 0&&this.kind!=="line";return p`<div class="chart" part="chart" role="group" tabindex="0" aria-label=${this.#h(t,e)}
        @pointermove=${this.#d} @pointerleave=${()=>this.hovered=void 0}
        @keydown=${this.#f} @blur=${()=>this.hovered=void 0}>
        ${this.width?this.#s(t,e,r,i):f}
        ${this.width&&this.hovered!==void 0?this.#c(t,e):f}
      </div>
      ${e.length>1?this.#u(e):f}
      ${this.hiddenTable()}
      <div class="sr" aria-live="polite">${this.hovered===void 0?f:this.#p(t,e)}</div>`}#s(t,e,i,r){let s=this.format,o=t.length,a=m=>this.#a(m,o),l=cn().keys(e.map(({name:m})=>m)).value((m,y)=>e.find(v=>v.name===y)?.values[m]??0)(t.map((m,y)=>y)),h=this.#r,u=i?l.at(-1)?.map(m=>m[1])??[]:e.flatMap(({values:m})=>m),[,c]=gn(0,Math.max(1,...u,...h??[]),4),d=m=>z-R.bottom-m/c*(z-R.bottom-R.top),g=mn(0,c,4).filter(m=>m>0&&Number.isInteger(m)),_=r?o-1:o,w=o>1?a(1)-a(0):this.width;return x`<svg viewBox="0 0 ${this.width} ${z}" aria-hidden="true">
      <g class="grid">${[0,...g].map(m=>x`<line x1="0" x2=${this.width} y1=${d(m)} y2=${d(m)}/>`)}</g>
      ${this.kind==="bars"?l.map((m,y)=>m.map((v,E)=>x`<rect class="bar" ${A("--c",L(y))}
              x=${a(E)-w*.36} width=${Math.max(1,w*.72)} y=${d(v[1])} height=${Math.max(0,d(v[0])-d(v[1]))} rx=${Math.min(3,w/6)}/>`)):i?l.map((m,y)=>x`<path class="stacked" ${A("--c",L(y))}
                d=${re((v,E)=>a(E),v=>d(v[0]),v=>d(v[1]))(m)}/>`):[h?x`<path class="previous" d=${V((m,y)=>a(y),d)(h.slice(0,o))}/>`:f,...e.map(({values:m},y)=>x`
                  ${this.kind==="area"&&e.length===1?x`<path class="area" ${A("--c",L(y))} d=${re((v,E)=>a(E),d(0),d)(m)}/>`:f}
                  <path class="line" ${A("--c",L(y))} d=${V((v,E)=>a(E),d)(m.slice(0,_))}/>
                  ${_<o?x`<path class="line partial" ${A("--c",L(y))} d=${V((v,E)=>a(E+_-1),d)(m.slice(_-1))}/>`:f}`)]}
      ${this.hovered===void 0?f:this.#o(a(this.hovered),d,e,i)}
      ${g.map(m=>x`<text class="ylabel" x="0" y=${d(m)-5}>${s.short(m)}</text>`)}
      ${this.#l(t).map(({i:m,text:y,anchor:v})=>x`<text x=${a(m)} y=${z-6} text-anchor=${v}>${y}</text>`)}
    </svg>`}#o(t,e,i,r){let s=this.hovered;return x`<line class="cross" x1=${t} x2=${t} y1=${R.top} y2=${z-R.bottom}/>
      ${r||this.kind==="bars"?f:i.map(({values:o},a)=>x`<circle class="dot" ${A("--c",L(a))} cx=${t} cy=${e(o[s]??0)} r="4.5"/>`)}`}#a(t,e){let i=this.width-2*R.side;return this.kind==="bars"?R.side+(t+.5)*i/e:R.side+(e>1?t*i/(e-1):i/2)}#l(t){let e=this.format,i=t.map(o=>e.tick(o,this.#n)),r=Math.max(...i.map(o=>o.length))*7+24,s=Math.max(1,Math.ceil(t.length*r/Math.max(1,this.width)));return i.map((o,a)=>({i:a,text:o,anchor:"middle"})).filter(({i:o})=>o%s===0).map(o=>{let a=this.#a(o.i,t.length),l=a<r/2-8?"start":a>this.width-r/2+8?"end":"middle";return{...o,anchor:l}})}#c(t,e){let i=this.format,r=this.hovered,s=this.#a(r,t.length),o=this.#r?.[r],a=e.length===1?e[0]?.values[r]:void 0,l=a!==void 0&&o!==void 0?i.change(a,o):void 0,h=[...e].map((u,c)=>({...u,s:c,value:u.values[r]??0})).sort((u,c)=>c.value-u.value);return p`<div class="tip" aria-hidden="true" ${A("--x",`${s}px`)} ${A("--shift",s>this.width/2?"calc(-100% - 12px)":"12px")}>
      <div class="muted">${i.bucket(t[r],this.#n)}</div>
      ${h.map(({name:u,value:c,s:d})=>p`<div><span class="name" dir="auto">${e.length>1?p`<span class="key" ${A("--c",L(d))}></span>`:f}${u}</span><b class="number">${i.exact(c)}</b></div>`)}
      ${o===void 0?f:p`<div class="muted"><span>${i.text("previous")}</span><span class="number">${i.exact(o)}</span></div>`}
      ${l?p`<div>${ue(i,l,l.sign>0?"up":"down")}</div>`:f}
    </div>`}#u(t){return p`<ul class="legend" part="legend">
      ${t.map(({name:e},i)=>p`<li><span class="key" ${A("--c",L(i))}></span>${e}</li>`)}
    </ul>`}#h(t,e){let i=this.format,r=t.map((_,w)=>e.reduce((m,{values:y})=>m+(y[w]??0),0)),s=r.indexOf(Math.max(...r)),{from:o,to:a}=this.page.range,l=r.reduce((_,w)=>_+w,0),h=this.#r?.reduce((_,w)=>_+w,0),u=this.measure==="events"?i.change(l,h):void 0,c=u?.text&&u.sign?`, ${i.text(u.sign>0?"up":"down",u.text)}`:"",d=this.measure==="events"?i.exact(l)+c:i.exact(Math.max(...r));return`${i.text("chart_summary",this.heading??this.defaultHeading(),i.days(o,a),d)} ${i.text("chart_peak",i.bucket(t[s],this.#n),i.exact(r[s]??0))}`}#p(t,e){let i=this.hovered,r=this.format,s=e.map(({name:o,values:a})=>`${o} ${r.exact(a[i]??0)}`);return`${r.bucket(t[i],this.#n)}: ${s.join(", ")}`}#d=t=>{let e=t.currentTarget.getBoundingClientRect(),{starts:i}=this.#i,r=i.length,s=t.clientX-e.left-R.side,o=this.width-2*R.side,a=this.kind==="bars"?Math.floor(s/o*r):Math.round(s/o*(r-1));this.hovered=Math.min(r-1,Math.max(0,a))};#f=t=>{let e=this.#i.starts.length-1,i=this.hovered??(t.key==="ArrowLeft"?e+1:-1),s={ArrowRight:i+1,ArrowLeft:i-1,Home:0,End:e}[t.key];if(s===void 0){t.key==="Escape"&&(this.hovered=void 0);return}t.preventDefault(),this.hovered=Math.min(e,Math.max(0,s))}};function Ot(n){return n.count??n.activeCount??0}function L(n){return`var(--_s${n%de+1})`}function xi(n){let t=new Map;for(let i of n){let r=i.series??"\u2013";t.set(r,(t.get(r)??0)+Ot(i))}let e=[...t].sort((i,r)=>r[1]-i[1]).map(([i])=>i);return e.length>de?e.slice(0,de-1):e}function bi(n,t,e){let i=n.get(t)??new Array(e).fill(0);return n.set(t,i),i}var wi={"nealytics-dashboard":kt,"nealytics-figures":St,"nealytics-timeseries":It,"nealytics-top":X,"nealytics-properties":j,"nealytics-funnel":Mt,"nealytics-retention":Ct,"nealytics-sessions":Pt};if(typeof customElements<"u")for(let[n,t]of Object.entries(wi))customElements.get(n)||customElements.define(n,t);export{kt as NealyticsDashboard,St as NealyticsFigures,Mt as NealyticsFunnel,j as NealyticsProperties,Ct as NealyticsRetention,Pt as NealyticsSessions,It as NealyticsTimeseries,X as NealyticsTop};
